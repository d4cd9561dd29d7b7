//! Certificates that must have one of some names, besides what a verifier demands.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_name;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use x509_parser::parse_x509_certificate;

use crate::config::AllowedNames;

/// The names, ready to be compared.
#[derive(Clone, Debug)]
pub(super) enum Names {
    Common(Vec<String>),
    Hosts(Vec<ServerName<'static>>),
}

impl Names {
    /// `None` when any will do. The error names what is no name of a host.
    pub(super) fn of(allowed: &AllowedNames) -> Result<Option<Self>, String> {
        match allowed {
            AllowedNames::Any => Ok(None),
            AllowedNames::Common(names) => Ok(Some(Self::Common(names.clone()))),
            AllowedNames::Hosts(names) => {
                let host = |name: &String| {
                    ServerName::try_from(name.clone())
                        .map_err(|error| format!("allowed host name {name:?}: {error}"))
                };
                names.iter().map(host).collect::<Result<_, _>>().map(Self::Hosts).map(Some)
            }
        }
    }

    fn check(&self, certificate: &CertificateDer<'_>) -> Result<(), Error> {
        let fits = match self {
            Self::Common(names) => {
                let (_, parsed) = parse_x509_certificate(certificate)
                    .map_err(|_unreadable| CertificateError::BadEncoding)?;
                // The last one, as Go has it where there are several.
                let name = parsed.subject().iter_common_name().last();
                name.and_then(|name| name.as_str().ok())
                    .is_some_and(|found| names.iter().any(|name| name == found))
            }
            Self::Hosts(names) => {
                let parsed = ParsedCertificate::try_from(certificate)?;
                names.iter().any(|name| verify_server_name(&parsed, name).is_ok())
            }
        };
        if fits { Ok(()) } else { Err(CertificateError::ApplicationVerificationFailure.into()) }
    }
}

/// A verifier of clients, or of servers, and the names it lets through.
#[derive(Debug)]
pub(super) struct Named<V: ?Sized> {
    pub(super) inner: Arc<V>,
    pub(super) names: Names,
}

impl ClientCertVerifier for Named<dyn ClientCertVerifier> {
    fn offer_client_auth(&self) -> bool {
        self.inner.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.inner.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.inner.verify_client_cert(certificate, intermediates, now)?;
        self.names.check(certificate)?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

impl ServerCertVerifier for Named<dyn ServerCertVerifier> {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified =
            self.inner.verify_server_cert(certificate, intermediates, name, ocsp, now)?;
        self.names.check(certificate)?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
