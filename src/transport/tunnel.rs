//! What a proxy that gives no tunnel asks the user to do.

use std::error::Error as StdError;

use crate::error::chain;

/// The mend for a proxy that wants to know who asks.
pub(crate) const CREDENTIALS: &str = "credentials: check those in its URL (setting `proxy`)";

/// The mend for a tunnel that failed somewhere in the chain of `error`; `to` is where
/// it should have led.
pub(crate) fn advice(proxy: &str, to: &str, error: &(dyn StdError + 'static)) -> Option<String> {
    // The HTTP stack does not export the type of this error.
    let text = chain(error)
        .find_map(|link| link.to_string().strip_prefix("tunnel error: ").map(str::to_owned))?;
    Some(match text.as_str() {
        "proxy authorization required" => format!("{proxy} wants {CREDENTIALS}{to}"),
        "failed to create underlying connection" => {
            format!("no connection to {proxy}: check its URL (setting `proxy`){to}")
        }
        "unsuccessful" => {
            format!(
                "{proxy} refuses to connect: check the credentials in its URL (setting `proxy`), \
                 or let it allow this{to}"
            )
        }
        _ => format!("{proxy} gives no tunnel: check its URL (setting `proxy`){to}"),
    })
}

#[cfg(test)]
mod tests {
    use std::io::Error;

    use super::*;

    #[test]
    fn each_refusal_of_a_proxy_names_it_and_the_mend() {
        for (text, word) in [
            ("proxy authorization required", "the proxy P wants credentials"),
            ("failed to create underlying connection", "no connection to the proxy P"),
            ("unsuccessful", "the proxy P refuses to connect"),
            ("unexpected end of file", "the proxy P gives no tunnel"),
        ] {
            let deep = Error::other(Error::other(format!("tunnel error: {text}")));
            let said = advice("the proxy P", " (https://h)", &deep).unwrap();
            assert!(said.contains(word) && said.ends_with(" (https://h)"), "{said}");
        }
        assert_eq!(advice("the proxy P", "", &Error::other("connection refused")), None);
    }
}
