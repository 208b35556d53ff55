//! An authority of the task's own, a certificate for the intermediaries and one for the agent.

use std::path::{Path, PathBuf};

use plexsphere_client::BoxError;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};

/// In the folder: `ca.pem`, `server.crt`, `server.key`, and `server.pem` with both.
#[derive(Clone)]
pub struct Certificates {
    pub dir: PathBuf,
    pub ca: String,
    pub client: String,
    pub client_key: String,
}

impl Certificates {
    pub fn write_to(dir: &Path) -> Result<Self, BoxError> {
        let mut authority = CertificateParams::new(Vec::new())?;
        authority.distinguished_name.push(DnType::CommonName, "the lab's authority");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let authority_key = KeyPair::generate()?;
        let ca = authority.self_signed(&authority_key)?.pem();
        let issuer = Issuer::new(authority, authority_key);

        let server = CertificateParams::new(["localhost", "127.0.0.1"].map(str::to_owned))?;
        let server_key = KeyPair::generate()?;
        let server = server.signed_by(&server_key, &issuer)?.pem();
        let mut client = CertificateParams::new(Vec::new())?;
        client.distinguished_name.push(DnType::CommonName, "an agent");
        let client_key = KeyPair::generate()?;
        let client = client.signed_by(&client_key, &issuer)?.pem();

        let key = server_key.serialize_pem();
        std::fs::write(dir.join("ca.pem"), &ca)?;
        std::fs::write(dir.join("server.crt"), &server)?;
        std::fs::write(dir.join("server.key"), &key)?;
        std::fs::write(dir.join("server.pem"), format!("{server}{key}"))?;
        Ok(Self { dir: dir.to_owned(), ca, client, client_key: client_key.serialize_pem() })
    }
}
