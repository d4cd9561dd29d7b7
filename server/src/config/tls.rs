//! TLS of listeners and between members: which flags go together.

use std::path::PathBuf;

use super::error::ConfigError;
use super::settings::Settings;
use super::types::{
    AllowedNames, Certificate, CipherSuite, Notice, PeerTls, PeerTrust, Severity, Tls, TlsVersion,
};
use super::urls::Url;

/// What the flags about TLS ask for; `None` when no listener of `urls` speaks TLS.
pub(super) fn resolve(
    settings: &Settings,
    urls: &[&Url],
    notices: &mut Vec<Notice>,
) -> Result<Option<Tls>, ConfigError> {
    let (min_version, max_version) = versions(settings)?;
    let suites = suites(settings, min_version)?;
    let client_ca = path(settings, "trusted-ca-file");
    if settings.bool("client-cert-auth") && client_ca.is_none() {
        return invalid("--client-cert-auth needs --trusted-ca-file, whose clients are let in");
    }
    let client_crl = of_authorities(settings, "client-crl-file", client_ca.as_ref())?;
    let allowed = allowed(settings, "", client_ca.as_ref())?;
    let certificate = certificate(settings, "", client_ca.is_some(), notices)?;
    let Some(certificate) = certificate else {
        if let Some(url) = urls.iter().find(|url| url.scheme().is_tls()) {
            return Err(ConfigError::Invalid(format!(
                "TLS key/cert (--cert-file, --key-file) must be provided for client url {url} with \
                 HTTPS scheme"
            )));
        }
        if client_ca.is_some() {
            return invalid(
                "--trusted-ca-file needs --cert-file and --key-file, and an https:// URL",
            );
        }
        return Ok(None);
    };
    for url in urls.iter().filter(|url| !url.scheme().is_tls()) {
        let what = if client_ca.is_some() {
            "certificates, the client's too,"
        } else {
            "key and cert files"
        };
        notices.push(Notice {
            severity: Severity::Warn,
            message: format!("scheme is http or unix; ignoring {what} for this URL"),
            subject: url.to_string(),
        });
    }
    Ok(Some(Tls { certificate, client_ca, client_crl, allowed, suites, min_version, max_version }))
}

/// What the flags about peer TLS ask for; `urls` are those this member listens at and is reached by.
pub(super) fn resolve_peer<'a>(
    settings: &Settings,
    urls: impl Iterator<Item = &'a Url>,
    notices: &mut Vec<Notice>,
) -> Result<Option<PeerTls>, ConfigError> {
    let (min_version, max_version) = versions(settings)?;
    let suites = suites(settings, min_version)?;
    let ca = path(settings, "peer-trusted-ca-file");
    if settings.bool("peer-client-cert-auth") && ca.is_none() {
        return invalid(
            "--peer-client-cert-auth needs --peer-trusted-ca-file, whose peers are let in",
        );
    }
    let client_crl = of_authorities(settings, "peer-crl-file", ca.as_ref())?;
    let allowed = allowed(settings, "peer-", ca.as_ref())?;
    let Some(certificate) = certificate(settings, "peer-", ca.is_some(), notices)? else {
        if let Some(url) = urls.into_iter().find(|url| url.scheme().is_tls()) {
            return Err(ConfigError::Invalid(format!(
                "TLS key/cert (--peer-cert-file, --peer-key-file) must be provided for peer url {url} \
                 with HTTPS scheme"
            )));
        }
        if ca.is_some() {
            return invalid("--peer-trusted-ca-file needs --peer-cert-file and --peer-key-file");
        }
        return Ok(None);
    };
    let identity = pair(settings, "peer-client-cert-file", "peer-client-key-file")?;
    let (identity, trust) = match (&certificate, ca.clone()) {
        (Certificate::SelfSigned { .. }, _) => (identity, PeerTrust::Anyone),
        (Certificate::Files { cert, key }, Some(ca)) => {
            let own = || (cert.clone(), key.clone());
            (Some(identity.unwrap_or_else(own)), PeerTrust::Authorities(ca))
        }
        // etcd would believe the system's authorities, which sign for the whole world.
        (Certificate::Files { .. }, None) => {
            return invalid(
                "--peer-cert-file needs --peer-trusted-ca-file, by which members believe each other",
            );
        }
    };
    let client_ca = ca;
    let listen =
        Tls { certificate, client_ca, client_crl, allowed, suites, min_version, max_version };
    Ok(Some(PeerTls { listen, identity, trust }))
}

fn invalid<T>(text: &str) -> Result<T, ConfigError> {
    Err(ConfigError::Invalid(text.to_owned()))
}

fn path(settings: &Settings, flag: &str) -> Option<PathBuf> {
    Some(settings.text(flag)).filter(|text| !text.is_empty()).map(PathBuf::from)
}

/// A file that says something about certificates of `authorities`, and nothing without them.
fn of_authorities(
    settings: &Settings,
    flag: &str,
    authorities: Option<&PathBuf>,
) -> Result<Option<PathBuf>, ConfigError> {
    let file = path(settings, flag);
    if file.is_some() && authorities.is_none() {
        return Err(needs_authorities(flag));
    }
    Ok(file)
}

/// The flag about a list or names would let everybody in who has no certificate at all.
fn needs_authorities(flag: &str) -> ConfigError {
    let prefix = if flag.starts_with("peer-") { "peer-" } else { "" };
    ConfigError::Invalid(format!(
        "--{flag} needs --{prefix}trusted-ca-file, whose certificates it is about"
    ))
}

/// What the names of certificates must be; `prefix` is that of the flags, `peer-` or nothing.
fn allowed(
    settings: &Settings,
    prefix: &str,
    authorities: Option<&PathBuf>,
) -> Result<AllowedNames, ConfigError> {
    let words = |flag: &str| -> Vec<String> {
        let words = settings.words(flag).into_iter();
        words.map(|word| word.trim().to_owned()).filter(|word| !word.is_empty()).collect()
    };
    let (common, hosts_flag) = if prefix.is_empty() {
        (Vec::new(), "client-cert-allowed-hostname")
    } else {
        (words("peer-cert-allowed-cn"), "peer-cert-allowed-hostname")
    };
    let hosts = words(hosts_flag);
    let flag = if hosts.is_empty() { "peer-cert-allowed-cn" } else { hosts_flag };
    match (common.is_empty(), hosts.is_empty()) {
        (true, true) => Ok(AllowedNames::Any),
        _ if authorities.is_none() => Err(needs_authorities(flag)),
        (false, true) => Ok(AllowedNames::Common(common)),
        (true, false) => Ok(AllowedNames::Hosts(hosts)),
        (false, false) => Err(ConfigError::Invalid(format!(
            "AllowedCN and AllowedHostname are mutually exclusive (cns=[{}], hostnames=[{}])",
            common.join(" "),
            hosts.join(" ")
        ))),
    }
}

/// Both of a certificate and its key, or neither.
fn pair(
    settings: &Settings,
    cert_flag: &str,
    key_flag: &str,
) -> Result<Option<(PathBuf, PathBuf)>, ConfigError> {
    match (path(settings, cert_flag), path(settings, key_flag)) {
        (Some(cert), Some(key)) => Ok(Some((cert, key))),
        (None, None) => Ok(None),
        (cert, key) => {
            let text = |path: Option<PathBuf>| path.unwrap_or_default().display().to_string();
            Err(ConfigError::Invalid(format!(
                "KeyFile and CertFile must both be present[key: {}, cert: {}]",
                text(key),
                text(cert)
            )))
        }
    }
}

/// What listeners show; `prefix` is that of the flags, `peer-` or nothing.
fn certificate(
    settings: &Settings,
    prefix: &str,
    wants_clients: bool,
    notices: &mut Vec<Notice>,
) -> Result<Option<Certificate>, ConfigError> {
    let auto_tls = format!("{prefix}auto-tls");
    let auto = settings.bool(&auto_tls);
    let files = pair(settings, &format!("{prefix}cert-file"), &format!("{prefix}key-file"))?;
    match files {
        Some((cert, key)) => {
            if auto {
                let who = if prefix.is_empty() { "client" } else { "peer" };
                notices.push(Notice {
                    severity: Severity::Warn,
                    message: format!("ignoring {who} auto TLS since certs given"),
                    subject: format!("--{auto_tls}"),
                });
            }
            Ok(Some(Certificate::Files { cert, key }))
        }
        None if auto => {
            // etcd forgets the client's certificate then; nobody shall believe it is asked for.
            if wants_clients {
                return Err(ConfigError::Invalid(format!(
                    "--{auto_tls} cannot check client certificates: give --{prefix}cert-file"
                )));
            }
            let years = settings.uint("self-signed-cert-validity");
            match u32::try_from(years) {
                Ok(years @ 1..=1000) => Ok(Some(Certificate::SelfSigned { years })),
                Ok(_) | Err(_) => {
                    invalid("--self-signed-cert-validity should be between 1 and 1000 years")
                }
            }
        }
        None => Ok(None),
    }
}

fn versions(settings: &Settings) -> Result<(TlsVersion, TlsVersion), ConfigError> {
    let version = |flag: &str, unset: TlsVersion| match settings.text(flag).as_str() {
        "TLS1.2" => TlsVersion::Tls12,
        "TLS1.3" => TlsVersion::Tls13,
        _unset => unset,
    };
    let min = version("tls-min-version", TlsVersion::Tls12);
    let max = version("tls-max-version", TlsVersion::Tls13);
    if min > max {
        return invalid("min version (TLS1.3) is greater than max version (TLS1.2)");
    }
    Ok((min, max))
}

fn suites(settings: &Settings, min: TlsVersion) -> Result<Option<Vec<CipherSuite>>, ConfigError> {
    let names: Vec<String> = settings.words("cipher-suites");
    let names: Vec<&str> =
        names.iter().map(|name| name.trim()).filter(|name| !name.is_empty()).collect();
    if names.is_empty() {
        return Ok(None);
    }
    if min == TlsVersion::Tls13 {
        return invalid("cipher suites cannot be configured when only TLS1.3 is enabled");
    }
    let known = |name: &&str| {
        CipherSuite::from_name(name).ok_or_else(|| {
            let all: Vec<_> = CipherSuite::ALL.iter().map(|(name, _)| *name).collect();
            ConfigError::Invalid(format!(
                "unexpected TLS cipher suite {name:?}; with TLS 1.2 there are {}",
                all.join(", ")
            ))
        })
    };
    names.iter().map(known).collect::<Result<_, _>>().map(Some)
}
