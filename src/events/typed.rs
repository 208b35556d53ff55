//! The 24 events with their payload types.

use std::fmt;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use super::{EventType, SignedEnvelope};
use crate::transport::generated::types;
use crate::values::{DecodeError, Trigger};

/// A kind of event: its name and what it carries.
///
/// The 24 kinds of the contract are in [`kind`]; implement it for an event that the
/// contract does not have (yet):
///
/// ```
/// use plexsphere_client::events::{EventKind, EventType};
///
/// #[derive(Debug, serde::Deserialize)]
/// struct Quota {
///     bytes: u64,
/// }
///
/// struct QuotaChanged;
///
/// impl EventKind for QuotaChanged {
///     type Payload = Quota;
///
///     fn event_type() -> EventType {
///         "quota_changed".into()
///     }
/// }
/// ```
pub trait EventKind: Send + 'static {
    /// What the payload decodes into.
    type Payload: DeserializeOwned + fmt::Debug + Send + 'static;

    /// The event's type: its name on the wire.
    fn event_type() -> EventType;
}

/// A verified event with its payload decoded.
///
/// `Debug` shows type and id, and the payload as its own `Debug` does.
pub struct Event<K: EventKind> {
    /// What the event says.
    pub payload: K::Payload,
    /// The envelope that it came in.
    pub envelope: Arc<SignedEnvelope>,
}

impl<K: EventKind> Event<K> {
    pub(crate) fn decode(envelope: Arc<SignedEnvelope>) -> Result<Self, DecodeError> {
        Ok(Self { payload: envelope.decode()?, envelope })
    }
}

impl<K: EventKind> fmt::Debug for Event<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("event_type", &self.envelope.event_type.as_str())
            .field("event_id", &self.envelope.event_id)
            .field("payload", &self.payload)
            .finish()
    }
}

macro_rules! kinds {
    ($($name:ident => $payload:ty),+ $(,)?) => {
        /// The kinds of event that the contract names, as markers for typed handlers.
        pub mod kind {
            use super::{EventKind, EventType, Trigger, types};

            $(
                #[doc = concat!("[`EventType::", stringify!($name), "`] with its payload.")]
                #[derive(Clone, Copy, Debug)]
                pub struct $name;

                impl EventKind for $name {
                    type Payload = $payload;

                    fn event_type() -> EventType {
                        EventType::$name
                    }
                }
            )+

            #[cfg(test)]
            pub(super) const ALL: &[EventType] = &[$(EventType::$name),+];
        }
    };
}

kinds! {
    PeerAdded => types::Peer,
    PeerRemoved => types::PeerRemoved,
    PeerKeyRotated => types::Peer,
    PeerEndpointChanged => types::PeerEndpointChanged,
    PolicyUpdated => Trigger,
    ActionRequest => types::ActionRequest,
    SessionRevoked => types::SessionRevoked,
    SshSessionSetup => types::SshSessionSetup,
    RotateKeys => Trigger,
    SigningKeyRotated => types::SigningKeys,
    NodeStateUpdated => types::NodeStateUpdated,
    NodeSecretsUpdated => types::NodeSecretsUpdated,
    BridgeConfigUpdated => Trigger,
    RelaySessionAssigned => types::RelaySessionAssignment,
    RelaySessionRevoked => types::RelaySessionRevoked,
    UserAccessConfigUpdated => Trigger,
    UserAccessPeerAssigned => types::UserAccessPeer,
    UserAccessPeerRevoked => types::UserAccessPeerRevoked,
    IngressConfigUpdated => Trigger,
    IngressRuleAssigned => types::IngressRule,
    IngressRuleRevoked => types::IngressRuleRevoked,
    SiteToSiteConfigUpdated => Trigger,
    SiteToSiteTunnelAssigned => types::SiteToSiteTunnel,
    SiteToSiteTunnelRevoked => types::SiteToSiteTunnelRevoked,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_type_has_its_kind() {
        assert_eq!(kind::ALL, EventType::ALL);
    }
}
