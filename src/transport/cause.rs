//! Why the HTTP stack failed, in its own words and not in the server's.

use std::error::Error as StdError;
use std::fmt;

use crate::error::chain;

/// One link of a chain of errors, copied as text.
#[derive(Debug)]
pub(crate) struct Cause {
    text: String,
    source: Option<Box<Cause>>,
}

impl Cause {
    /// The chain that begins with `error`.
    pub(crate) fn of(error: &(dyn StdError + 'static)) -> Self {
        let mut links: Vec<String> = chain(error).map(text_of).collect();
        let innermost = Self { text: links.pop().unwrap_or_default(), source: None };
        links
            .into_iter()
            .rfold(innermost, |source, text| Self { text, source: Some(Box::new(source)) })
    }
}

/// An HTTP/2 error quotes what the server wrote when it closed the connection, up to
/// 16 KiB of whatever it liked.
fn text_of(link: &(dyn StdError + 'static)) -> String {
    match link.downcast_ref::<h2::Error>() {
        Some(http2) if http2.is_go_away() => {
            let reason = http2.reason().unwrap_or(h2::Reason::PROTOCOL_ERROR);
            format!("HTTP/2 connection closed: {}", reason.description())
        }
        _ => link.to_string(),
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl StdError for Cause {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_keeps_its_texts_in_order() {
        let inner = std::io::Error::other("the innermost");
        let middle = crate::Error::config("in the middle").with_source(inner);
        let outer = std::io::Error::other(middle);
        let cause = Cause::of(&outer);
        let texts: Vec<_> = std::iter::successors(Some(&cause), |link| link.source.as_deref())
            .map(|link| link.text.as_str())
            .collect();
        assert_eq!(texts.len(), chain(&outer).count());
        assert_eq!(texts.last(), Some(&"the innermost"));
    }
}
