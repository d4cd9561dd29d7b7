//! TLS, of clients and between members.

use std::path::PathBuf;

/// TLS of listeners.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// What the member shows.
    pub certificate: Certificate,
    /// `--trusted-ca-file`: clients must show a certificate of these authorities.
    pub client_ca: Option<PathBuf>,
    /// `--client-crl-file`: which of their certificates are revoked. Only with [`Tls::client_ca`].
    pub client_crl: Option<PathBuf>,
    /// Whose certificates are taken, of those the authorities signed. Only with [`Tls::client_ca`].
    pub allowed: AllowedNames,
    /// `--cipher-suites`, of TLS 1.2; `None` for all.
    pub suites: Option<Vec<CipherSuite>>,
    /// `--tls-min-version`.
    pub min_version: TlsVersion,
    /// `--tls-max-version`; not below [`Tls::min_version`].
    pub max_version: TlsVersion,
}

/// Which names a certificate must have, besides a signature.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AllowedNames {
    /// No particular ones.
    #[default]
    Any,
    /// One of these as its subject's common name: `--peer-cert-allowed-cn`.
    Common(Vec<String>),
    /// One of these among its alternative names, by which wildcards stand for them too:
    /// `--peer-cert-allowed-hostname`, `--client-cert-allowed-hostname`.
    Hosts(Vec<String>),
}

/// TLS between members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerTls {
    /// Of the listeners for peers.
    pub listen: Tls,
    /// Certificate and key that are shown when dialling: `--peer-client-cert-file` and
    /// `--peer-client-key-file`, or the listeners'; none with `--peer-auto-tls`.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// Whom to believe when dialling.
    pub trust: PeerTrust,
}

/// Whose certificates a member believes when it dials another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerTrust {
    /// `--peer-trusted-ca-file`.
    Authorities(PathBuf),
    /// Everybody's (`--peer-auto-tls`).
    Anyone,
}

/// Where a member's certificate comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Certificate {
    /// `--cert-file`, `--key-file`; read anew when they change.
    Files {
        /// The chain, in PEM.
        cert: PathBuf,
        /// Its key, in PEM.
        key: PathBuf,
    },
    /// `--auto-tls`: generated in the data directory, unless it is there.
    SelfSigned {
        /// `--self-signed-cert-validity`.
        years: u32,
    },
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// 1.2
    Tls12,
    /// 1.3
    Tls13,
}

/// A cipher suite of TLS 1.2: those with forward secrecy and authenticated encryption.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it all")]
pub enum CipherSuite {
    EcdheEcdsaAes128,
    EcdheEcdsaAes256,
    EcdheEcdsaChaCha20,
    EcdheRsaAes128,
    EcdheRsaAes256,
    EcdheRsaChaCha20,
}

impl CipherSuite {
    /// With IANA's names, which are Go's.
    pub const ALL: [(&'static str, Self); 6] = [
        ("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", Self::EcdheEcdsaAes128),
        ("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", Self::EcdheEcdsaAes256),
        ("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", Self::EcdheEcdsaChaCha20),
        ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", Self::EcdheRsaAes128),
        ("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", Self::EcdheRsaAes256),
        ("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", Self::EcdheRsaChaCha20),
    ];

    /// By its name, or by the shorter one Go once had for those with `ChaCha20`.
    pub fn from_name(name: &str) -> Option<Self> {
        let fits = |known: &str| known == name || known.strip_suffix("_SHA256") == Some(name);
        let chacha = name.ends_with("_CHACHA20_POLY1305");
        let found =
            Self::ALL.iter().find(|(known, _)| if chacha { fits(known) } else { *known == name });
        found.map(|(_, suite)| *suite)
    }
}
