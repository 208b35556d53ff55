use crate::error::{Error, ErrorKind};

/// Refuses a path parameter that could not be one segment of its own.
///
/// `/`, `?`, `#`, `%`, space and non-ASCII are percent-encoded by the generated
/// code; what encoding cannot save (the URL standard folds `.` and `..` even
/// encoded, and takes `\` for `/`) is refused before anything is sent.
pub(crate) fn check(name: &str, value: &str) -> Result<(), Error> {
    let fault = if value.is_empty() {
        "is empty"
    } else if matches!(value, "." | "..") {
        "is `.` or `..`, which would change the route"
    } else if value.contains('\\') {
        "holds a backslash, which would change the route"
    } else if value.chars().any(char::is_control) {
        "holds a control character"
    } else {
        return Ok(());
    };
    Err(Error::new(
        ErrorKind::InvalidRequest,
        format!("{name} {fault}: give the id as the server did"),
    ))
}

/// Refuses a path for [`get_json`](crate::ControlPlane::get_json) that would leave
/// the base URL.
pub(crate) fn check_path(path: &str) -> Result<(), Error> {
    let (route, _query) = path.split_once('?').unwrap_or((path, ""));
    let dots = |segment: &str| {
        matches!(segment.to_ascii_lowercase().replace("%2e", ".").as_str(), "." | "..")
    };
    let fault = if !path.starts_with('/') {
        "does not start with `/`"
    } else if path.starts_with("//") {
        "starts with `//`, which names another host"
    } else if path.contains(['\\', '#']) || path.chars().any(|c| c.is_control() || c == ' ') {
        "holds a backslash, `#`, a space or a control character"
    } else if route.split('/').any(dots) {
        "holds a `.` or `..` segment"
    } else {
        return Ok(());
    };
    Err(Error::new(
        ErrorKind::InvalidRequest,
        format!("the path {fault}: give one under the base URL, such as /v1/nodes"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_would_change_the_route_are_refused() {
        for id in ["", ".", "..", "a\\..\\x", "a\u{0}", "a\r\nb", "\u{7f}"] {
            assert!(check("node_id", id).is_err(), "{id:?}");
        }
        for id in ["n-1", "a/b", "50%", "…", "a b", "a?b#c", "...", "%2e%2e"] {
            assert!(check("node_id", id).is_ok(), "{id:?}");
        }
    }

    #[test]
    fn paths_stay_under_the_base_url() {
        for path in ["", "v1", "//h/x", "/a/../b", "/a/%2E%2e/b", "/a\\b", "/a#b", "/a\nb", "/a b"]
        {
            assert!(check_path(path).is_err(), "{path:?}");
        }
        for path in ["/v1/ping", "/v1/nodes?limit=5&after=..", "/v1/a%20b", "/"] {
            assert!(check_path(path).is_ok(), "{path:?}");
        }
    }
}
