//! Connections to peers: TCP or a file, with or without TLS.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme, SupportedProtocolVersion,
};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use vetch_raft::transport::grpc::{Dial, PeerSocket};

use super::{Named, Names, TlsError, authorities, identity, provider, versions};
use crate::config::{PeerTls, PeerTrust, Scheme, Url};

/// Dials peers as the flags about peer TLS say.
#[derive(Debug)]
pub struct PeerDial {
    tls: Option<Arc<DialTls>>,
}

#[derive(Debug)]
struct DialTls {
    /// What is shown when the peer asks for it.
    identity: Option<(PathBuf, PathBuf)>,
    trust: PeerTrust,
    /// One of which the peer's certificate must have; any if there is none.
    names: Option<Names>,
    provider: Arc<CryptoProvider>,
    versions: Vec<&'static SupportedProtocolVersion>,
}

impl PeerDial {
    /// Reads the files once, to find what is wrong with them; then anew for each connection, so that
    /// those that are renewed are used.
    pub fn open(settings: Option<&PeerTls>) -> Result<Self, TlsError> {
        let Some(settings) = settings else { return Ok(Self { tls: None }) };
        let tls = DialTls {
            identity: settings.identity.clone(),
            trust: settings.trust.clone(),
            names: Names::of(&settings.listen.allowed).map_err(TlsError::Name)?,
            provider: Arc::new(provider(settings.listen.suites.as_deref())),
            versions: versions(settings.listen.min_version, settings.listen.max_version),
        };
        tls.read()?;
        Ok(Self { tls: Some(Arc::new(tls)) })
    }
}

impl Dial for PeerDial {
    fn dial(&self, url: &str) -> BoxFuture<'static, io::Result<Box<dyn PeerSocket>>> {
        let (url, tls) = (Url::parse(url), self.tls.clone());
        async move {
            let url = url.map_err(io::Error::other)?;
            match url.scheme() {
                Scheme::Http => tcp(&url).await.map(boxed),
                Scheme::Unix => UnixStream::connect(url.address()).await.map(boxed),
                Scheme::Https => secure(tcp(&url).await?, &url, tls).await,
                Scheme::Unixs => secure(UnixStream::connect(url.address()).await?, &url, tls).await,
            }
        }
        .boxed()
    }
}

fn boxed(socket: impl PeerSocket + 'static) -> Box<dyn PeerSocket> {
    Box::new(socket)
}

async fn tcp(url: &Url) -> io::Result<TcpStream> {
    let socket = TcpStream::connect(url.address()).await?;
    socket.set_nodelay(true)?;
    Ok(socket)
}

async fn secure(
    socket: impl PeerSocket + 'static,
    url: &Url,
    tls: Option<Arc<DialTls>>,
) -> io::Result<Box<dyn PeerSocket>> {
    let tls = tls.ok_or_else(|| {
        io::Error::other("it is reached by TLS, and this member has no --peer-trusted-ca-file")
    })?;
    let client = tls.read().map_err(io::Error::other)?;
    // A socket's file has no host; certificates for it name this machine.
    let host = if url.host().is_empty() { "localhost" } else { url.host() };
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    Ok(boxed(TlsConnector::from(client).connect(name, socket).await?))
}

impl DialTls {
    fn read(&self) -> Result<Arc<ClientConfig>, TlsError> {
        let unusable = |path: &Path, error: rustls::Error| TlsError::Unusable {
            path: path.to_owned(),
            cause: error.to_string(),
        };
        let nowhere = Path::new("TLS versions");
        let builder = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&self.versions)
            .map_err(|error| unusable(nowhere, error))?;
        let builder = match &self.trust {
            PeerTrust::Authorities(path) => match &self.names {
                None => builder.with_root_certificates(roots(path)?),
                Some(names) => {
                    let inner: Arc<dyn ServerCertVerifier> = self.server_verifier(path)?;
                    let verifier = Arc::new(Named { inner, names: names.clone() });
                    builder.dangerous().with_custom_certificate_verifier(verifier)
                }
            },
            PeerTrust::Anyone => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(Anyone(Arc::clone(&self.provider)))),
        };
        let mut client = match &self.identity {
            None => builder.with_no_client_auth(),
            Some((cert, key)) => {
                let (chain, private) = identity(cert, key)?;
                builder
                    .with_client_auth_cert(chain, private)
                    .map_err(|error| unusable(cert, error))?
            }
        };
        client.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Arc::new(client))
    }
}

impl DialTls {
    fn server_verifier(&self, path: &Path) -> Result<Arc<WebPkiServerVerifier>, TlsError> {
        WebPkiServerVerifier::builder_with_provider(roots(path)?, Arc::clone(&self.provider))
            .build()
            .map_err(|error| TlsError::Authorities {
                path: path.to_owned(),
                cause: error.to_string(),
            })
    }
}

fn roots(path: &Path) -> Result<Arc<RootCertStore>, TlsError> {
    authorities(path).map(Arc::new)
}

/// For `--peer-auto-tls`, as in etcd: what is sent is encrypted, and goes to whoever holds the address.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
