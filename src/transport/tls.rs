//! What a failed TLS handshake asks the user to do.

use std::error::Error as StdError;

use rustls::CertificateError as Certificate;

use crate::error::chain;

/// The mend for the failure of a handshake somewhere in the chain of `error`.
pub(crate) fn advice(error: &(dyn StdError + 'static)) -> Option<&'static str> {
    let failure = chain(error).find_map(|link| link.downcast_ref::<rustls::Error>())?;
    Some(match failure {
        rustls::Error::InvalidCertificate(certificate) => match certificate {
            Certificate::UnknownIssuer => {
                "the server's certificate is of an authority that is not trusted: \
                 add it with root_certificate_pem"
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
            _ => "the server's certificate is refused",
        },
        rustls::Error::PeerIncompatible(_) => {
            "the server takes no TLS version from 1.2 on, or no cipher of ours"
        }
        rustls::Error::InvalidMessage(_) => {
            "the server does not speak TLS there: check scheme and port in base_url"
        }
        _ => "the TLS handshake failed",
    })
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
            (rustls::Error::InvalidCertificate(Certificate::UnknownIssuer), "root_certificate_pem"),
            (rustls::Error::InvalidCertificate(Certificate::NotValidForName), "base_url"),
            (rustls::Error::InvalidCertificate(Certificate::Expired), "clock is fast"),
            (rustls::Error::InvalidCertificate(Certificate::NotValidYet), "clock is slow"),
            (rustls::Error::InvalidCertificate(Certificate::Revoked), "refused"),
            (rustls::Error::HandshakeNotComplete, "handshake"),
        ] {
            let deep = std::io::Error::other(std::io::Error::other(error));
            assert!(advice(&deep).unwrap().contains(word), "{deep}");
        }
        assert_eq!(advice(&std::io::Error::other("connection refused")), None);
    }
}
