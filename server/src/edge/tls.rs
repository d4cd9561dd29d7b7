//! TLS of listeners: one certificate, read anew when its files change. `dial`: of connections to peers.
//! `names`: whose certificates are taken.

mod dial;
mod names;
mod self_signed;

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, pem};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{
    CipherSuite as SuiteId, RootCertStore, ServerConfig, SupportedCipherSuite,
    SupportedProtocolVersion, version,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

pub use dial::PeerDial;
use names::{Named, Names};

use crate::config::{self, Certificate, CipherSuite, TlsVersion};

/// How long a client may take to shake hands.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// gRPC's clients insist on `h2`; the others are for the HTTP endpoints.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Why TLS cannot be had with these files.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or written if it is ours.
    #[error("{path}: {error}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A file holds nothing of what it should.
    #[error("{path} holds no {what} in PEM: {cause}")]
    Pem {
        /// Which.
        path: PathBuf,
        /// Certificate or key.
        what: &'static str,
        /// Why.
        cause: String,
    },
    /// Certificate, key and settings do not fit together.
    #[error("certificate {path}: {cause}")]
    Unusable {
        /// The certificate.
        path: PathBuf,
        /// Why.
        cause: String,
    },
    /// `--trusted-ca-file` names no authority.
    #[error("authorities {path}: {cause}")]
    Authorities {
        /// Which.
        path: PathBuf,
        /// Why.
        cause: String,
    },
    /// A name that a certificate may have is none.
    #[error("{0}")]
    Name(String),
    /// A certificate could not be generated.
    #[error("cannot generate a certificate: {0}")]
    Generate(String),
}

/// The TLS side of a node's listeners, for clients or for peers.
#[derive(Debug)]
pub struct Tls {
    files: Files,
    provider: Arc<CryptoProvider>,
    versions: Vec<&'static SupportedProtocolVersion>,
    current: Mutex<Current>,
}

#[derive(Debug)]
struct Files {
    cert: PathBuf,
    key: PathBuf,
    client_ca: Option<PathBuf>,
    client_crl: Option<PathBuf>,
    /// Of clients' certificates; any if there is none.
    names: Option<Names>,
}

/// What the files held when they were last looked at.
#[derive(Debug)]
struct Current {
    stamp: Stamp,
    server: Arc<ServerConfig>,
}

/// Tells a file from what was there before, symbolic links followed: Kubernetes swaps those.
type Stamp = Vec<Option<(u64, u64, u64, i64, i64)>>;

impl Tls {
    /// Reads the files that `settings` name, or finds or generates the self-signed ones in `folder` for
    /// `hosts`.
    pub fn open(settings: &config::Tls, folder: &Path, hosts: &[String]) -> Result<Self, TlsError> {
        let (cert, key) = match &settings.certificate {
            Certificate::Files { cert, key } => (cert.clone(), key.clone()),
            Certificate::SelfSigned { years } => {
                self_signed::find_or_generate(folder, hosts, *years)?
            }
        };
        let names = Names::of(&settings.allowed).map_err(TlsError::Name)?;
        let (client_ca, client_crl) = (settings.client_ca.clone(), settings.client_crl.clone());
        let files = Files { cert, key, client_ca, client_crl, names };
        let provider = Arc::new(provider(settings.suites.as_deref()));
        let versions = versions(settings.min_version, settings.max_version);
        let stamp = files.stamp();
        let server = files.read(&provider, &versions)?;
        let current = Mutex::new(Current { stamp, server });
        Ok(Self { files, provider, versions, current })
    }

    /// Shakes hands with a client, with the certificate as it is now.
    pub(super) async fn accept<S>(&self, socket: S) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let shaking = TlsAcceptor::from(self.server()).accept(socket);
        tokio::time::timeout(HANDSHAKE_TIMEOUT, shaking)
            .await
            .unwrap_or_else(|_elapsed| Err(io::ErrorKind::TimedOut.into()))
    }

    /// What a handshake that begins now needs. Files that changed and are unusable, as when only half
    /// of them is written, leave the former in use, and are read again for the next client.
    fn server(&self) -> Arc<ServerConfig> {
        let stamp = self.files.stamp();
        let mut current = self.current.lock();
        if stamp != current.stamp {
            match self.files.read(&self.provider, &self.versions) {
                Ok(server) => {
                    tracing::info!(path = %self.files.cert.display(), "certificate was read anew");
                    *current = Current { stamp, server };
                }
                Err(error) => {
                    tracing::warn!(%error, "changed certificate cannot be used; the former stays");
                }
            }
        }
        Arc::clone(&current.server)
    }
}

impl Files {
    fn stamp(&self) -> Stamp {
        let files = [&self.cert, &self.key].into_iter();
        let files = files.chain(&self.client_ca).chain(&self.client_crl);
        let stamp = |path| {
            let found = fs::metadata(path).ok()?;
            Some((found.dev(), found.ino(), found.len(), found.mtime(), found.mtime_nsec()))
        };
        files.map(stamp).collect()
    }

    fn read(
        &self,
        provider: &Arc<CryptoProvider>,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Result<Arc<ServerConfig>, TlsError> {
        let unusable = |error: rustls::Error| TlsError::Unusable {
            path: self.cert.clone(),
            cause: error.to_string(),
        };
        let (chain, key) = identity(&self.cert, &self.key)?;
        let builder = ServerConfig::builder_with_provider(Arc::clone(provider))
            .with_protocol_versions(versions)
            .map_err(unusable)?;
        let builder = match &self.client_ca {
            Some(path) => builder.with_client_cert_verifier(self.verifier(path, provider)?),
            None => builder.with_no_client_auth(),
        };
        let mut server = builder.with_single_cert(chain, key).map_err(unusable)?;
        server.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
        Ok(Arc::new(server))
    }

    fn verifier(
        &self,
        path: &Path,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
        let roots = Arc::new(authorities(path)?);
        let mut builder = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(provider));
        if let Some(path) = &self.client_crl {
            // Whom no list speaks of is not revoked, as in etcd.
            builder = builder.with_crls(revoked(path)?).allow_unknown_revocation_status();
        }
        let inner = builder.build().map_err(|error| TlsError::Authorities {
            path: self.client_crl.as_deref().unwrap_or(path).to_owned(),
            cause: error.to_string(),
        })?;
        Ok(match &self.names {
            None => inner,
            Some(names) => Arc::new(Named { inner, names: names.clone() }),
        })
    }
}

/// Lists of revoked certificates: in PEM, or one in DER.
fn revoked(path: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsError> {
    let bytes = fs::read(path).map_err(|error| TlsError::File { path: path.to_owned(), error })?;
    let lists: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(&bytes).collect();
    match lists {
        // An ASN.1 sequence, which no PEM begins with.
        Ok(lists) if lists.is_empty() && bytes.first() == Some(&0x30) => Ok(vec![bytes.into()]),
        Ok(lists) if lists.is_empty() => {
            Err(not_pem(path, "revocation list", pem::Error::NoItemsFound))
        }
        Ok(lists) => Ok(lists),
        Err(error) => Err(not_pem(path, "revocation list", error)),
    }
}

/// A chain and its key.
fn identity(
    cert: &Path,
    key: &Path,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsError> {
    let chain = certificates(cert)?;
    let private =
        PrivateKeyDer::from_pem_file(key).map_err(|error| not_pem(key, "private key", error))?;
    Ok((chain, private))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    match found {
        Ok(chain) if chain.is_empty() => {
            Err(not_pem(path, "certificate", pem::Error::NoItemsFound))
        }
        Ok(chain) => Ok(chain),
        Err(error) => Err(not_pem(path, "certificate", error)),
    }
}

fn not_pem(path: &Path, what: &'static str, error: pem::Error) -> TlsError {
    let path = path.to_owned();
    if let pem::Error::Io(error) = error {
        return TlsError::File { path, error };
    }
    TlsError::Pem { path, what, cause: error.to_string() }
}

fn authorities(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for authority in certificates(path)? {
        roots.add(authority).map_err(|error| TlsError::Authorities {
            path: path.to_owned(),
            cause: error.to_string(),
        })?;
    }
    Ok(roots)
}

fn versions(min: TlsVersion, max: TlsVersion) -> Vec<&'static SupportedProtocolVersion> {
    [(TlsVersion::Tls13, &version::TLS13), (TlsVersion::Tls12, &version::TLS12)]
        .into_iter()
        .filter(|(version, _)| (min..=max).contains(version))
        .map(|(_, version)| version)
        .collect()
}

/// TLS 1.3 keeps its suites, as in Go: the flag is about TLS 1.2.
fn provider(suites: Option<&[CipherSuite]>) -> CryptoProvider {
    let mut provider = aws_lc_rs::default_provider();
    if let Some(suites) = suites {
        let allowed: Vec<SuiteId> = suites.iter().map(|suite| suite_id(*suite)).collect();
        provider.cipher_suites.retain(|suite| match suite {
            SupportedCipherSuite::Tls13(_) => true,
            SupportedCipherSuite::Tls12(suite) => allowed.contains(&suite.common.suite),
        });
    }
    provider
}

fn suite_id(suite: CipherSuite) -> SuiteId {
    match suite {
        CipherSuite::EcdheEcdsaAes128 => SuiteId::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        CipherSuite::EcdheEcdsaAes256 => SuiteId::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        CipherSuite::EcdheEcdsaChaCha20 => SuiteId::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        CipherSuite::EcdheRsaAes128 => SuiteId::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        CipherSuite::EcdheRsaAes256 => SuiteId::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        CipherSuite::EcdheRsaChaCha20 => SuiteId::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    }
}

#[cfg(test)]
mod tests;
