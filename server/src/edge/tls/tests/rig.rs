//! An authority, what it has issued, and a client that believes it.

use rcgen::{
    CertificateParams, CertificateRevocationListParams, DnType, Issuer, KeyIdMethod, KeyPair,
    RevokedCertParams, date_time_ymd,
};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::duplex;
use tokio_rustls::TlsConnector;

use super::*;

/// An authority.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(super) cert: rcgen::Certificate,
}

impl Authority {
    pub(super) fn new() -> Self {
        Self::called("authority")
    }

    pub(super) fn called(name: &str) -> Self {
        let (key, mut params) = (KeyPair::generate().unwrap(), params());
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let cert = params.self_signed(&key).unwrap();
        Self { issuer: Issuer::new(params, key), cert }
    }

    /// Certificate and key, in PEM.
    pub(super) fn issue(&self) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        (params().signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }

    /// As [`issue`](Self::issue), for such a subject with a serial number.
    pub(super) fn issue_to(&self, common_name: &str, host: &str, serial: u64) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.serial_number = Some(serial.into());
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }

    /// Says that this certificate is not to be believed any more.
    pub(super) fn revoke(&self, serial: u64) -> rcgen::CertificateRevocationList {
        let revoked = RevokedCertParams {
            serial_number: serial.into(),
            revocation_time: date_time_ymd(2024, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2024, 1, 1),
            next_update: date_time_ymd(2025, 1, 1),
            crl_number: 1_u64.into(),
            issuing_distribution_point: None,
            revoked_certs: vec![revoked],
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.issuer).unwrap()
    }

    /// A client that trusts it, and shows `identity` if asked.
    pub(super) fn client(&self, identity: Option<(String, String)>) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.cert.der().clone()).unwrap();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        match identity {
            None => builder.with_no_client_auth(),
            Some((cert, key)) => {
                let chain = vec![CertificateDer::from_pem_slice(cert.as_bytes()).unwrap()];
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        }
    }
}

fn params() -> CertificateParams {
    CertificateParams::new(vec!["localhost".to_owned()]).unwrap()
}

/// A folder with `cert` and `key`, and perhaps `ca`.
pub(super) struct Folder(tempfile::TempDir);

impl Folder {
    pub(super) fn new(identity: &(String, String)) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        folder.write(identity);
        folder
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// By renaming, as whoever renews certificates does: the file is another one.
    pub(super) fn write(&self, (cert, key): &(String, String)) {
        for (name, text) in [("cert", cert), ("key", key)] {
            fs::write(self.path("new"), text).unwrap();
            fs::rename(self.path("new"), self.path(name)).unwrap();
        }
    }

    pub(super) fn settings(&self) -> config::Tls {
        config::Tls {
            certificate: Certificate::Files { cert: self.path("cert"), key: self.path("key") },
            client_ca: None,
            client_crl: None,
            allowed: config::AllowedNames::Any,
            suites: None,
            min_version: TlsVersion::Tls12,
            max_version: TlsVersion::Tls13,
        }
    }

    pub(super) fn open(&self, change: impl FnOnce(&mut config::Tls)) -> Result<Tls, TlsError> {
        let mut settings = self.settings();
        change(&mut settings);
        Tls::open(&settings, self.0.path(), &[])
    }
}

/// What both sides agreed on: the server's certificate, version and suite.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Agreed {
    pub(super) cert: Vec<u8>,
    pub(super) version: rustls::ProtocolVersion,
    pub(super) suite: SuiteId,
}

/// One handshake; an error is the server's.
pub(super) async fn shake(tls: &Tls, client: ClientConfig) -> io::Result<Agreed> {
    let (ours, theirs) = duplex(1 << 16);
    let name = ServerName::try_from("localhost").unwrap();
    let connecting = TlsConnector::from(Arc::new(client)).connect(name, theirs);
    let (accepted, connected) = tokio::join!(tls.accept(ours), connecting);
    let _server = accepted?;
    let client = connected?;
    let state = client.get_ref().1;
    Ok(Agreed {
        cert: state.peer_certificates().unwrap()[0].to_vec(),
        version: state.protocol_version().unwrap(),
        suite: state.negotiated_cipher_suite().unwrap().suite(),
    })
}
