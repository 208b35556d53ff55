//! The certificates of the settings: the authorities to trust, and what to show.

use std::error::Error as StdError;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::config::{ClientCertificate, Config};
use crate::error::{Error, chain};
use crate::values::Secret;

const CERTIFICATE_MEND: &str = "give PEM text with BEGIN CERTIFICATE and END CERTIFICATE lines";

/// The authorities to trust beside those of the operating system.
pub(crate) fn roots(config: &Config) -> Result<Vec<reqwest::Certificate>, Error> {
    let mut certificates = Vec::new();
    for (index, pem) in config.root_certificates.iter().enumerate() {
        let found = reqwest::Certificate::from_pem_bundle(pem.as_bytes()).map_err(|e| {
            Error::config(format!(
                "root_certificates[{index}] is not understood: {CERTIFICATE_MEND}"
            ))
            .with_source(e)
        })?;
        if found.is_empty() {
            return Err(Error::config(format!(
                "root_certificates[{index}] holds no certificate: {CERTIFICATE_MEND}"
            )));
        }
        certificates.extend(found);
    }
    Ok(certificates)
}

/// What to show to a server that asks who this node is.
///
/// No error has a source: those of the parser quote lines of the text.
pub(crate) fn identity(config: &Config) -> Result<Option<reqwest::Identity>, Error> {
    let Some(ClientCertificate { chain, key }) = &config.client_certificate else {
        return Ok(None);
    };
    check_chain(chain)?;
    check_key(key)?;
    let both = Secret::new(format!("{chain}\n{}", key.expose()));
    let identity = reqwest::Identity::from_pem(both.expose().as_bytes()).map_err(|_| {
        Error::config(
            "client_certificate and client_key are not understood: leave nothing in their PEM \
             texts but certificates and one private key",
        )
    })?;
    Ok(Some(identity))
}

fn check_chain(chain: &str) -> Result<(), Error> {
    let mut certificates = CertificateDer::pem_slice_iter(chain.as_bytes());
    let fault = match certificates.next() {
        None => "holds no certificate",
        Some(first) if first.is_err() || certificates.any(|next| next.is_err()) => {
            "is not understood"
        }
        Some(_) => return Ok(()),
    };
    Err(Error::config(format!("client_certificate {fault}: {CERTIFICATE_MEND}")))
}

fn check_key(key: &Secret) -> Result<(), Error> {
    let text = key.expose();
    let fault = if text.contains("ENCRYPTED") {
        "is encrypted: give it without a passphrase"
    } else if PrivateKeyDer::from_pem_slice(text.as_bytes()).is_err() {
        "holds no private key: give PEM text with BEGIN PRIVATE KEY and END PRIVATE KEY lines"
    } else {
        return Ok(());
    };
    Err(Error::config(format!("client_key {fault}")))
}

/// The error of settings that the HTTP client does not take.
pub(crate) fn refused(error: reqwest::Error) -> Error {
    Error::config(fault_of(&error)).with_source(error)
}

fn fault_of(error: &(dyn StdError + 'static)) -> &'static str {
    match chain(error).find_map(|link| link.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InconsistentKeys(_)) => {
            "client_key does not belong to client_certificate: give the key that the first \
             certificate was made for"
        }
        Some(rustls::Error::InvalidCertificate(_)) => {
            "a certificate in root_certificates or client_certificate is damaged"
        }
        Some(rustls::Error::General(text)) if text.contains("No CA certificates") => {
            "no authority is trusted: install those of the operating system (ca-certificates), \
             or add one with root_certificate_pem"
        }
        Some(rustls::Error::General(text)) if text.contains("private key") => {
            "client_key is of a kind that is not known: give an RSA, ECDSA or Ed25519 key"
        }
        _ => "the HTTP client cannot be built with these settings",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_http_client_refuses_is_named_by_its_setting() {
        use rustls::{CertificateError, Error as Tls, InconsistentKeys};
        let general = |text: &str| Tls::General(text.to_owned());
        for (error, word) in [
            (Tls::InconsistentKeys(InconsistentKeys::KeyMismatch), "client_key does not belong"),
            (Tls::InvalidCertificate(CertificateError::BadEncoding), "is damaged"),
            (general("No CA certificates were loaded from the system"), "ca-certificates"),
            (general("failed to parse private key as RSA, ECDSA, or EdDSA"), "client_key is of"),
            (general("anything else"), "cannot be built"),
        ] {
            let deep = std::io::Error::other(error);
            assert!(fault_of(&deep).contains(word), "{deep}: {}", fault_of(&deep));
        }
    }
}
