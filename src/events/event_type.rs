use crate::values::open_string;

open_string! {
    /// What an event tells: the signed `event_type`.
    ///
    /// A type that this version does not know is carried in `Unknown`; a handler can
    /// be registered for it by its name.
    EventType {
        /// A peer joined the mesh.
        PeerAdded = "peer_added",
        /// A peer left the mesh.
        PeerRemoved = "peer_removed",
        /// A peer has a new key.
        PeerKeyRotated = "peer_key_rotated",
        /// A peer is reached at another address.
        PeerEndpointChanged = "peer_endpoint_changed",
        /// The policies changed: fetch the state.
        PolicyUpdated = "policy_updated",
        /// The node is asked to run an action. It is not part of the state.
        ActionRequest = "action_request",
        /// A session ended. It is not part of the state.
        SessionRevoked = "session_revoked",
        /// An SSH session is to be set up. It is not part of the state.
        SshSessionSetup = "ssh_session_setup",
        /// The node is asked to rotate its keys.
        RotateKeys = "rotate_keys",
        /// The control plane signs with a new key.
        SigningKeyRotated = "signing_key_rotated",
        /// Metadata or data entries of the node changed.
        NodeStateUpdated = "node_state_updated",
        /// The secrets that the node may fetch changed.
        NodeSecretsUpdated = "node_secrets_updated",
        /// The bridge settings changed: fetch the state.
        BridgeConfigUpdated = "bridge_config_updated",
        /// The node is to relay between two peers.
        RelaySessionAssigned = "relay_session_assigned",
        /// The node is to stop a relay session.
        RelaySessionRevoked = "relay_session_revoked",
        /// The user access settings changed: fetch the state.
        UserAccessConfigUpdated = "user_access_config_updated",
        /// A user's device gets access.
        UserAccessPeerAssigned = "user_access_peer_assigned",
        /// A user's device loses access.
        UserAccessPeerRevoked = "user_access_peer_revoked",
        /// The ingress settings changed: fetch the state.
        IngressConfigUpdated = "ingress_config_updated",
        /// An ingress rule was added.
        IngressRuleAssigned = "ingress_rule_assigned",
        /// An ingress rule was removed.
        IngressRuleRevoked = "ingress_rule_revoked",
        /// The site-to-site settings changed: fetch the state.
        SiteToSiteConfigUpdated = "site_to_site_config_updated",
        /// A tunnel to another site was added.
        SiteToSiteTunnelAssigned = "site_to_site_tunnel_assigned",
        /// A tunnel to another site was removed.
        SiteToSiteTunnelRevoked = "site_to_site_tunnel_revoked",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_24_names_and_any_other_is_kept() {
        assert_eq!(EventType::ALL.len(), 24);
        for known in EventType::ALL {
            assert_eq!(&EventType::from(known.as_str()), known);
        }
        assert_eq!(EventType::from("peer_renamed").as_str(), "peer_renamed");
    }
}
