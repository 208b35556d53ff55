use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The payload of an event that only says "look again": whatever it holds is
/// ignored, and the receiver fetches the state. It is written as `{}`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trigger;

impl Serialize for Trigger {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(std::iter::empty::<((), ())>())
    }
}

impl<'de> Deserialize<'de> for Trigger {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Self)
    }
}

impl JsonSchema for Trigger {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Trigger".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        true.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_payload_decodes_and_an_empty_object_is_written() {
        for text in ["{}", "null", r#"{"policy_id":"p-1"}"#, "[1,2]", "7"] {
            assert_eq!(serde_json::from_str::<Trigger>(text).unwrap(), Trigger);
        }
        assert_eq!(serde_json::to_string(&Trigger).unwrap(), "{}");
    }
}
