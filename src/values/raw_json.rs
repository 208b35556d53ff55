use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

/// Any JSON value, kept as the text that was sent: numbers, key order, duplicate
/// keys and white space come out as they went in.
///
/// Equality compares the text. `Debug` shows the length, never the content,
/// since a payload may hold secrets; read the content with [`get`](Self::get).
///
/// ```
/// use plexsphere_client::values::RawJson;
///
/// let raw = RawJson::from_text(r#"{"b": 1.0, "a": 12345678901234567890123}"#)?;
/// assert_eq!(raw.get(), r#"{"b": 1.0, "a": 12345678901234567890123}"#);
///
/// let raw = RawJson::new(&["a", "b"])?;
/// let list: Vec<String> = raw.decode()?;
/// assert_eq!(list, ["a", "b"]);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone)]
pub struct RawJson(Box<RawValue>);

impl RawJson {
    /// Encodes `value` as JSON.
    ///
    /// # Errors
    /// Those of [`serde_json::to_string`]: a map key that is not a string, or an
    /// error of the type's own.
    pub fn new<T: Serialize + ?Sized>(value: &T) -> Result<Self, serde_json::Error> {
        serde_json::value::to_raw_value(value).map(Self)
    }

    /// Takes a JSON text as it is.
    ///
    /// # Errors
    /// When `text` is not one JSON value.
    pub fn from_text(text: impl Into<String>) -> Result<Self, serde_json::Error> {
        RawValue::from_string(text.into()).map(Self)
    }

    /// The JSON text.
    pub fn get(&self) -> &str {
        self.0.get()
    }

    /// Decodes the text into a type of your own.
    ///
    /// # Errors
    /// When the text does not fit the type. The error of `serde_json` may quote
    /// the value that did not fit, so mind where you print it.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_str(self.get())
    }

    /// Whether the value is `null`.
    pub fn is_null(&self) -> bool {
        self.get() == "null"
    }
}

/// `null`.
impl Default for RawJson {
    fn default() -> Self {
        Self(RawValue::NULL.to_owned())
    }
}

impl From<Box<RawValue>> for RawJson {
    fn from(raw: Box<RawValue>) -> Self {
        Self(raw)
    }
}

impl PartialEq for RawJson {
    fn eq(&self, other: &Self) -> bool {
        self.get() == other.get()
    }
}

impl Eq for RawJson {}

impl fmt::Debug for RawJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RawJson({} bytes)", self.get().len())
    }
}

impl Serialize for RawJson {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for RawJson {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Box::<RawValue>::deserialize(deserializer).map(Self)
    }
}

impl JsonSchema for RawJson {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "RawJson".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        true.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_survives_byte_for_byte() {
        let text = r#"{"b" : 1.0,  "a":12345678901234567890123, "a": 2, "s":"<\u003c"}"#;
        let outer: Vec<RawJson> = serde_json::from_str(&format!("[{text}]")).unwrap();
        assert_eq!(outer[0].get(), text);
        assert_eq!(serde_json::to_string(&outer).unwrap(), format!("[{text}]"));
    }

    #[test]
    fn debug_shows_the_length_only() {
        let raw = RawJson::from_text(r#""canary""#).unwrap();
        assert_eq!(format!("{raw:?}"), "RawJson(8 bytes)");
    }

    #[test]
    fn text_that_is_not_one_value_is_refused() {
        assert!(RawJson::from_text("1 2").is_err());
        assert!(RawJson::from_text("").is_err());
        assert!(RawJson::default().is_null());
    }
}
