//! Certificates made on the spot, and servers that show them: a TLS end before a mock, and
//! one that says what it is told to.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use plexsphere_mock::MockControlPlane;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};

/// A certificate and its key.
pub struct Shown {
    pub pem: String,
    pub key_pem: String,
    der: CertificateDer<'static>,
    key: Vec<u8>,
}

impl Shown {
    fn new(certificate: &rcgen::Certificate, key: &KeyPair) -> Self {
        Self {
            pem: certificate.pem(),
            key_pem: key.serialize_pem(),
            der: certificate.der().clone(),
            key: key.serialize_der(),
        }
    }

    /// One that nobody signed but itself. What `openssl req -x509` makes is also marked
    /// as an authority's.
    pub fn self_signed(is_ca: IsCa) -> Self {
        let mut params = server_params();
        params.is_ca = is_ca;
        let key = KeyPair::generate().unwrap();
        Self::new(&params.self_signed(&key).unwrap(), &key)
    }
}

/// For a server on this machine, valid for long.
pub fn server_params() -> CertificateParams {
    CertificateParams::new(["localhost", "127.0.0.1"].map(str::to_owned)).unwrap()
}

pub struct Authority {
    pub pem: String,
    der: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self {
            pem: certificate.pem(),
            der: certificate.der().clone(),
            issuer: Issuer::new(params, key),
        }
    }

    pub fn sign(&self, params: &CertificateParams) -> Shown {
        let key = KeyPair::generate().unwrap();
        Shown::new(&params.signed_by(&key, &self.issuer).unwrap(), &key)
    }

    /// A good certificate for a server.
    pub fn server(&self) -> Shown {
        self.sign(&server_params())
    }
}

/// Each version of TLS alone.
pub static EACH_VERSION: [&[&SupportedProtocolVersion]; 2] = [&[&TLS12], &[&TLS13]];

/// How a [`Front`] shakes hands.
pub struct Handshake<'a> {
    pub shown: &'a Shown,
    /// Whose client certificates are asked for.
    pub clients: Option<&'a Authority>,
    pub versions: &'static [&'static SupportedProtocolVersion],
    pub alpn: &'static [&'static [u8]],
}

impl<'a> Handshake<'a> {
    pub fn new(shown: &'a Shown) -> Self {
        let versions = tokio_rustls::rustls::DEFAULT_VERSIONS;
        Self { shown, clients: None, versions, alpn: &[b"http/1.1"] }
    }

    fn config(&self) -> Arc<ServerConfig> {
        let provider: Arc<CryptoProvider> = Arc::new(aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(self.versions)
            .unwrap();
        let builder = match self.clients {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let mut roots = RootCertStore::empty();
                roots.add(authority.der.clone()).unwrap();
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                builder.with_client_cert_verifier(verifier.build().unwrap())
            }
        };
        let key = PrivateKeyDer::Pkcs8(self.shown.key.clone().into());
        let mut config = builder.with_single_cert(vec![self.shown.der.clone()], key).unwrap();
        config.alpn_protocols = self.alpn.iter().map(|name| name.to_vec()).collect();
        Arc::new(config)
    }
}

/// All bytes that arrived, a list a connection.
#[derive(Clone, Default)]
pub struct Arrived(Arc<Mutex<Vec<Vec<u8>>>>);

impl Arrived {
    fn connection(&self) -> usize {
        let mut all = self.0.lock().unwrap();
        all.push(Vec::new());
        all.len() - 1
    }

    fn note(&self, connection: usize, bytes: &[u8]) {
        self.0.lock().unwrap()[connection].extend_from_slice(bytes);
    }

    pub fn all(&self) -> Vec<Vec<u8>> {
        self.0.lock().unwrap().clone()
    }
}

/// A TLS end on a port of its own, with the plain mock behind it.
pub struct Front {
    pub address: SocketAddr,
    pub arrived: Arrived,
    config: Arc<Mutex<Arc<ServerConfig>>>,
    /// Of each handshake that succeeded: whether the client showed a certificate.
    clients: Arc<Mutex<Vec<bool>>>,
    task: JoinHandle<()>,
}

impl Front {
    pub async fn start(mock: &MockControlPlane, handshake: Handshake<'_>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let config = Arc::new(Mutex::new(handshake.config()));
        let (arrived, clients) = (Arrived::default(), Arc::new(Mutex::new(Vec::new())));
        let (behind, configs) = (mock.address(), config.clone());
        let (bytes, shown) = (arrived.clone(), clients.clone());
        let task = tokio::spawn(async move {
            loop {
                let (tcp, _) = listener.accept().await.unwrap();
                let acceptor = TlsAcceptor::from(configs.lock().unwrap().clone());
                let recorded = Recorded { tcp, number: bytes.connection(), to: bytes.clone() };
                let shown = shown.clone();
                tokio::spawn(async move {
                    // A handshake or a relay that breaks off is what tests are about.
                    let mut tls = match acceptor.accept(recorded).into_fallible().await {
                        Ok(tls) => tls,
                        // Closed at once, it would reset the connection and its own alert with it.
                        Err((_, refused)) => return drain(refused).await,
                    };
                    shown.lock().unwrap().push(tls.get_ref().1.peer_certificates().is_some());
                    let Ok(mut plain) = TcpStream::connect(behind).await else { return };
                    let _ = tokio::io::copy_bidirectional(&mut tls, &mut plain).await;
                });
            }
        });
        Self { address, arrived, config, clients, task }
    }

    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// Handshakes from now on are these.
    pub fn rotate(&self, handshake: &Handshake<'_>) {
        *self.config.lock().unwrap() = handshake.config();
    }

    /// Of each handshake that succeeded: whether the client showed a certificate.
    pub fn clients(&self) -> Vec<bool> {
        self.clients.lock().unwrap().clone()
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Reads on until the client goes.
async fn drain(mut connection: Recorded) {
    while let Ok(1..) = connection.read(&mut [0; 4096]).await {}
}

/// A connection whose arriving bytes are written down.
struct Recorded {
    tcp: TcpStream,
    number: usize,
    to: Arrived,
}

impl AsyncRead for Recorded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.tcp).poll_read(cx, buffer);
        self.to.note(self.number, &buffer.filled()[before..]);
        read
    }
}

impl AsyncWrite for Recorded {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}

/// Answers the first bytes of each connection with these, and listens on until the
/// client goes.
pub struct Parrot {
    pub address: SocketAddr,
    pub arrived: Arrived,
    task: JoinHandle<()>,
}

impl Parrot {
    pub async fn start(answer: Vec<u8>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let arrived = Arrived::default();
        let bytes = arrived.clone();
        let task = tokio::spawn(async move {
            loop {
                let (mut tcp, _) = listener.accept().await.unwrap();
                let (bytes, answer) = (bytes.clone(), answer.clone());
                tokio::spawn(async move {
                    let number = bytes.connection();
                    let mut buffer = [0; 4096];
                    let mut answered = false;
                    while let Ok(count @ 1..) = tcp.read(&mut buffer).await {
                        bytes.note(number, &buffer[..count]);
                        if !std::mem::replace(&mut answered, true) {
                            let _ = tcp.write_all(&answer).await;
                            let _ = tcp.shutdown().await;
                        }
                    }
                });
            }
        });
        Self { address, arrived, task }
    }
}

impl Drop for Parrot {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A TLS record.
pub fn record(kind: u8, version: [u8; 2], body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap().to_be_bytes();
    [&[kind, version[0], version[1], length[0], length[1]], body].concat()
}

/// The hello of a server that takes TLS 1.1 and an old cipher.
pub fn server_hello_of_tls_1_1() -> Vec<u8> {
    let mut hello = vec![3, 2];
    hello.extend([7; 32]); // random
    hello.push(0); // no session
    hello.extend([0xc0, 0x13, 0]); // ECDHE_RSA_WITH_AES_128_CBC_SHA, no compression
    let length = u8::try_from(hello.len()).unwrap();
    let message = [&[2, 0, 0, length], hello.as_slice()].concat();
    record(22, [3, 2], &message)
}
