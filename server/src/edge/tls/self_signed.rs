//! The certificates of `--auto-tls` and `--peer-auto-tls`.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose};

use super::TlsError;

const YEAR: Duration = Duration::from_hours(365 * 24);

/// Certificate and key in `folder`; generated for `hosts` if one of them is missing.
pub(super) fn find_or_generate(
    folder: &Path,
    hosts: &[String],
    years: u32,
) -> Result<(PathBuf, PathBuf), TlsError> {
    let (cert_path, key_path) = (folder.join("cert.pem"), folder.join("key.pem"));
    if cert_path.exists() && key_path.exists() {
        return Ok((cert_path, key_path));
    }
    let (cert, key) =
        generate(hosts, years).map_err(|error| TlsError::Generate(error.to_string()))?;
    fs::create_dir_all(folder)
        .map_err(|error| TlsError::File { path: folder.to_owned(), error })?;
    // The certificate last: where it stands, its key does.
    write(folder, &key_path, &key)?;
    write(folder, &cert_path, &cert)?;
    tracing::warn!(path = %cert_path.display(), years, "generated a self-signed certificate");
    Ok((cert_path, key_path))
}

/// Whole or not at all, and readable by its owner only.
fn write(folder: &Path, path: &Path, text: &str) -> Result<(), TlsError> {
    let failed = |error| TlsError::File { path: path.to_owned(), error };
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
    file.write_all(text.as_bytes()).and_then(|()| file.as_file().sync_all()).map_err(failed)?;
    file.persist(path).map(drop).map_err(|error| failed(error.error))
}

/// Certificate and key, in PEM.
fn generate(hosts: &[String], years: u32) -> Result<(String, String), rcgen::Error> {
    let key = KeyPair::generate()?;
    // A socket's file has no host, nor has a listener at all addresses.
    let named: Vec<String> = hosts.iter().filter(|host| !host.is_empty()).cloned().collect();
    let mut params = CertificateParams::new(named)?;
    params.distinguished_name.push(DnType::OrganizationName, "vetch");
    params.not_before = SystemTime::now().into();
    params.not_after = (SystemTime::now() + YEAR * years).into();
    // etcd's is an authority too. Clients can trust this file as well, and it can sign no other.
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let cert = params.self_signed(&key)?;
    Ok((cert.pem(), key.serialize_pem()))
}
