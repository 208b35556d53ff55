//! What a failed TLS handshake asks the user to do.

use std::error::Error as StdError;

use http::StatusCode;
use rustls::{AlertDescription as Alert, CertificateError as Certificate, Error as Tls};

use crate::error::chain;

const WANTS_CERTIFICATE: &str =
    "the server asks for a client certificate: give it one with client_certificate_pem";
const REFUSES_CERTIFICATE: &str =
    "the server does not accept the client certificate: check the one in client_certificate_pem";
const TOO_OLD: &str =
    "the server takes no TLS version from 1.2 on, or no cipher of ours: update or configure it";
const NOT_TLS: &str = "the server does not speak TLS there: check scheme and port in base_url";
const TLS_PORT: &str = "this port speaks TLS: write https in base_url";

/// A server that misses a client certificate may hang up before it is heard what it says
/// of that.
pub(crate) const HUNG_UP: &str = "the connection broke before any answer (does the server ask \
                                  for a client certificate? see client_certificate_pem)";
/// Some TLS ports hang up on plain HTTP without a word.
pub(crate) const HUNG_UP_IN_CLEAR: &str = "the connection broke before any answer (does the port \
                                           speak TLS? then write https in base_url)";

/// What a server says of the client's certificate.
const ABOUT_CLIENT: [Alert; 10] = [
    Alert::CertificateRequired,
    Alert::NoCertificate,
    Alert::BadCertificate,
    Alert::UnsupportedCertificate,
    Alert::CertificateRevoked,
    Alert::CertificateExpired,
    Alert::CertificateUnknown,
    Alert::UnknownCA,
    Alert::DecryptError,
    Alert::AccessDenied,
];

/// The mend for the failure of a handshake somewhere in the chain of `error`.
pub(crate) fn advice(error: &(dyn StdError + 'static)) -> Option<&'static str> {
    Some(match failure(error)? {
        Tls::InvalidCertificate(certificate) => of_certificate(&certificate),
        Tls::AlertReceived(alert) => of_alert(alert),
        Tls::PeerIncompatible(_) => TOO_OLD,
        Tls::InvalidMessage(_) | Tls::PeerSentOversizedRecord => NOT_TLS,
        _ => "the TLS handshake failed",
    })
}

/// Whether the server refused the handshake after it was over on this side: TLS 1.3
/// looks at the client's certificate last.
pub(crate) fn is_of_handshake(error: &(dyn StdError + 'static)) -> bool {
    matches!(failure(error), Some(Tls::AlertReceived(alert)) if ABOUT_CLIENT.contains(&alert))
}

/// The mend for a page that servers send to those who speak the wrong protocol or show
/// no certificate: they have no status for it.
pub(crate) fn advice_of_page(status: StatusCode, body: &[u8]) -> Option<&'static str> {
    const PAGES: [(&str, &str); 5] = [
        ("No required SSL certificate was sent", WANTS_CERTIFICATE),
        ("The SSL certificate error", REFUSES_CERTIFICATE),
        ("The plain HTTP request was sent to HTTPS port", TLS_PORT),
        ("Client sent an HTTP request to an HTTPS server", TLS_PORT),
        ("speaking plain HTTP to an SSL-enabled server port", TLS_PORT),
    ];
    let text = (status == StatusCode::BAD_REQUEST).then(|| String::from_utf8_lossy(body))?;
    PAGES.iter().find(|(words, _)| text.contains(words)).map(|(_, advice)| *advice)
}

fn failure(error: &(dyn StdError + 'static)) -> Option<Tls> {
    chain(error).find_map(|link| match link.downcast_ref::<Tls>() {
        Some(failure) => Some(failure.clone()),
        None => alert_in_text(&link.to_string()).map(Tls::AlertReceived),
    })
}

/// HTTP/2 keeps of an error below it only the text.
fn alert_in_text(text: &str) -> Option<Alert> {
    let name = text.strip_prefix("received fatal alert: ")?;
    ABOUT_CLIENT.into_iter().find(|alert| format!("{alert:?}") == name)
}

fn of_certificate(certificate: &Certificate) -> &'static str {
    match certificate {
        Certificate::UnknownIssuer => {
            "the server's certificate is self-signed, or of an authority that is not trusted: \
             add that with root_certificate_pem"
        }
        Certificate::NotValidForName | Certificate::NotValidForNameContext { .. } => {
            "the server's certificate is for another host: check the host in base_url"
        }
        Certificate::Expired | Certificate::ExpiredContext { .. } => {
            "the server's certificate has expired, or this machine's clock is fast"
        }
        Certificate::NotValidYet | Certificate::NotValidYetContext { .. } => {
            "the server's certificate is not valid yet, or this machine's clock is slow"
        }
        _ if format!("{certificate:?}").contains("CaUsedAsEndEntity") => {
            "the server shows an authority's certificate as its own: let it show one that is \
             marked CA:FALSE, and add its authority with root_certificate_pem"
        }
        _ => "the server's certificate is refused",
    }
}

fn of_alert(alert: Alert) -> &'static str {
    match alert {
        Alert::CertificateRequired | Alert::NoCertificate => WANTS_CERTIFICATE,
        alert if ABOUT_CLIENT.contains(&alert) => REFUSES_CERTIFICATE,
        Alert::ProtocolVersion | Alert::InsufficientSecurity => TOO_OLD,
        Alert::HandshakeFailure => {
            "the server has no TLS version or cipher in common, or asks for a client \
             certificate (client_certificate_pem)"
        }
        Alert::UnrecognisedName => "the server knows no such host: check the host in base_url",
        _ => "the server broke off the TLS handshake",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_fault_of_a_certificate_has_its_mend_too() {
        use rustls::{InvalidMessage, PeerIncompatible};
        for (error, word) in [
            (PeerIncompatible::ServerDoesNotSupportTls12Or13.into(), "no TLS version from 1.2"),
            (rustls::Error::from(InvalidMessage::InvalidContentType), "does not speak TLS"),
        ] {
            let deep = std::io::Error::other(error);
            assert!(advice(&deep).unwrap().contains(word), "{deep}");
        }
    }

    #[test]
    fn each_cause_has_its_mend_however_deep_it_lies() {
        for (error, word) in [
            (Tls::InvalidCertificate(Certificate::UnknownIssuer), "root_certificate_pem"),
            (Tls::InvalidCertificate(Certificate::NotValidForName), "base_url"),
            (Tls::InvalidCertificate(Certificate::Expired), "clock is fast"),
            (Tls::InvalidCertificate(Certificate::NotValidYet), "clock is slow"),
            (Tls::InvalidCertificate(Certificate::Revoked), "refused"),
            (Tls::AlertReceived(Alert::CertificateRequired), "asks for a client certificate"),
            (Tls::AlertReceived(Alert::UnknownCA), "does not accept the client certificate"),
            (Tls::AlertReceived(Alert::ProtocolVersion), "no TLS version from 1.2 on"),
            (Tls::AlertReceived(Alert::HandshakeFailure), "in common"),
            (Tls::AlertReceived(Alert::UnrecognisedName), "no such host"),
            (Tls::AlertReceived(Alert::InternalError), "broke off"),
            (Tls::PeerSentOversizedRecord, "does not speak TLS"),
            (Tls::HandshakeNotComplete, "handshake"),
        ] {
            let deep = std::io::Error::other(std::io::Error::other(error));
            assert!(advice(&deep).unwrap().contains(word), "{deep}");
        }
        assert_eq!(advice(&std::io::Error::other("connection refused")), None);
    }

    #[test]
    fn only_a_refused_certificate_is_a_handshake_that_failed_late() {
        for (alert, late) in [
            (Alert::CertificateRequired, true),
            (Alert::CertificateExpired, true),
            (Alert::InternalError, false),
            (Alert::BadRecordMac, false),
        ] {
            let error = std::io::Error::other(Tls::AlertReceived(alert));
            assert_eq!(is_of_handshake(&error), late, "{alert:?}");
        }
        assert!(!is_of_handshake(&std::io::Error::other(Tls::DecryptError)));
        let text = std::io::Error::other("received fatal alert: CertificateRequired");
        assert!(is_of_handshake(&text), "as HTTP/2 passes it on");
        assert!(!is_of_handshake(&std::io::Error::other("received fatal alert: InternalError")));
    }

    #[test]
    fn a_page_about_tls_counts_as_400_only() {
        let go = b"Client sent an HTTP request to an HTTPS server.\n";
        assert_eq!(advice_of_page(StatusCode::BAD_REQUEST, go), Some(TLS_PORT));
        assert_eq!(advice_of_page(StatusCode::OK, go), None);
        assert_eq!(advice_of_page(StatusCode::BAD_REQUEST, b"bad request"), None);
    }
}
