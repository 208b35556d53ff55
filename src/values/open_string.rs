//! String sets that the server may extend at any time: the known values are
//! variants, any other is carried in `Unknown`.

/// Defines an open string type.
///
/// The order of the values is their order in the contract. The generator replaces
/// each schema that has `x-extensible-enum` by the type of the same name.
macro_rules! open_string {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)+
            /// A value that this version does not know, kept as it was sent.
            Unknown(String),
        }

        impl $name {
            /// The known values, in the contract's order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The value as it goes over the wire.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $text,)+
                    Self::Unknown(text) => text,
                }
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                match text {
                    $($text => Self::$variant,)+
                    other => Self::Unknown(other.to_owned()),
                }
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                match text.as_str() {
                    $($text => Self::$variant,)+
                    _ => Self::Unknown(text),
                }
            }
        }

        impl std::str::FromStr for $name {
            type Err = std::convert::Infallible;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Ok(text.into())
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                <String as serde::Deserialize>::deserialize(deserializer).map(Self::from)
            }
        }

        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "x-extensible-enum": [$($text),+] })
            }
        }
    };
}
pub(crate) use open_string;

open_string! {
    /// What a node says of itself in a heartbeat.
    NodeStatus {
        /// All is well.
        Healthy = "healthy",
    }
}

open_string! {
    /// Whether a node takes an execution on.
    AckStatus {
        /// The node will run it.
        Accepted = "accepted",
        /// The node will not run it; the reason stands beside.
        Rejected = "rejected",
    }
}

open_string! {
    /// How an execution ended.
    ResultStatus {
        /// It ran and exited with 0.
        Success = "success",
        /// It ran and failed.
        Failure = "failure",
        /// It ran out of time.
        Timeout = "timeout",
        /// It was cancelled before its end.
        Cancelled = "cancelled",
    }
}

open_string! {
    /// What kind of action is requested.
    ActionType {
        /// An action that the agent brings along.
        Builtin = "builtin",
        /// A script of the node's owner.
        Hook = "hook",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_and_unknown_values_round_trip() {
        for text in ["\"success\"", "\"cancelled\"", "\"paused by operator\""] {
            let status: ResultStatus = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&status).unwrap(), text);
        }
        assert_eq!(ResultStatus::from("paused"), ResultStatus::Unknown("paused".into()));
        assert_eq!(ResultStatus::from("timeout"), ResultStatus::Timeout);
    }
}
