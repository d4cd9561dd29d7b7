//! Handshakes between our side and rustls' client, in memory.

mod rig;

use rustls::ClientConfig;
use tokio::io::duplex;

use super::*;
use rig::{Authority, Folder, shake};

fn der((cert, _key): &(String, String)) -> Vec<u8> {
    CertificateDer::from_pem_slice(cert.as_bytes()).unwrap().to_vec()
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_to_the_next_client() {
    let authority = Authority::new();
    let (first, second) = (authority.issue(), authority.issue());
    let folder = Folder::new(&first);
    let tls = folder.open(|_| {}).unwrap();
    assert_eq!(shake(&tls, authority.client(None)).await.unwrap().cert, der(&first));
    // Half of it is written: certificate and key do not fit.
    folder.write(&(second.0.clone(), first.1.clone()));
    assert_eq!(shake(&tls, authority.client(None)).await.unwrap().cert, der(&first));
    fs::remove_file(folder.path("cert")).unwrap();
    assert_eq!(shake(&tls, authority.client(None)).await.unwrap().cert, der(&first));
    folder.write(&second);
    assert_eq!(shake(&tls, authority.client(None)).await.unwrap().cert, der(&second));
}

#[tokio::test]
async fn clients_must_show_a_certificate_of_the_authority() {
    let (servers, clients, strangers) = (Authority::new(), Authority::new(), Authority::new());
    let folder = Folder::new(&servers.issue());
    fs::write(folder.path("ca"), clients.cert.pem()).unwrap();
    let tls = folder.open(|settings| settings.client_ca = Some(folder.path("ca"))).unwrap();
    assert!(shake(&tls, servers.client(None)).await.is_err(), "without a certificate");
    assert!(shake(&tls, servers.client(Some(strangers.issue()))).await.is_err(), "a stranger's");
    assert!(shake(&tls, servers.client(Some(clients.issue()))).await.is_ok());
    // The authority changes: who had to stay out is let in, and the other way round.
    fs::write(folder.path("new"), strangers.cert.pem()).unwrap();
    fs::rename(folder.path("new"), folder.path("ca")).unwrap();
    assert!(shake(&tls, servers.client(Some(strangers.issue()))).await.is_ok());
    assert!(shake(&tls, servers.client(Some(clients.issue()))).await.is_err());
}

#[tokio::test]
async fn revoked_certificates_are_refused_as_the_list_stands() {
    let (servers, clients) = (Authority::new(), Authority::new());
    let others = Authority::called("another");
    let folder = Folder::new(&servers.issue());
    let ca = clients.cert.pem() + &others.cert.pem();
    fs::write(folder.path("ca"), ca).unwrap();
    let open = || {
        folder.open(|settings| {
            settings.client_ca = Some(folder.path("ca"));
            settings.client_crl = Some(folder.path("crl"));
        })
    };
    let missing = open().unwrap_err().to_string();
    assert!(missing.contains("crl: No such file"), "{missing}");
    fs::write(folder.path("crl"), "nothing").unwrap();
    let nothing = open().unwrap_err().to_string();
    assert!(nothing.contains("crl holds no revocation list in PEM"), "{nothing}");

    fs::write(folder.path("crl"), clients.revoke(7).pem().unwrap()).unwrap();
    let tls = open().unwrap();
    let admits = async |authority: &Authority, serial| {
        let identity = authority.issue_to("client", "localhost", serial);
        shake(&tls, servers.client(Some(identity))).await.is_ok()
    };
    assert!(!admits(&clients, 7).await);
    assert!(admits(&clients, 8).await);
    assert!(admits(&others, 7).await, "no list speaks of this authority's");
    // Another list, in the other form.
    fs::write(folder.path("new"), clients.revoke(8).der()).unwrap();
    fs::rename(folder.path("new"), folder.path("crl")).unwrap();
    assert!(admits(&clients, 7).await);
    assert!(!admits(&clients, 8).await);
}

#[tokio::test]
async fn only_certificates_with_an_allowed_name_are_taken() {
    use config::AllowedNames::{Common, Hosts};
    let (servers, clients) = (Authority::new(), Authority::new());
    let folder = Folder::new(&servers.issue());
    fs::write(folder.path("ca"), clients.cert.pem()).unwrap();
    let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    let with = |allowed| {
        folder.open(|settings| {
            settings.client_ca = Some(folder.path("ca"));
            settings.allowed = allowed;
        })
    };
    let common = with(Common(names(&["m1", "m2"]))).unwrap();
    let hosts = with(Hosts(names(&["m1.example.org", "10.0.0.1"]))).unwrap();
    for (common_name, host, by_common, by_host) in [
        ("m1", "m1.example.org", true, true),
        ("m2", "m2.example.org", true, false),
        ("m3", "10.0.0.1", false, true),
        ("m1.example.org", "*.example.org", false, true),
        ("10.0.0.1", "m1", false, false),
    ] {
        for (tls, expected) in [(&common, by_common), (&hosts, by_host)] {
            let identity = clients.issue_to(common_name, host, 1);
            let admitted = shake(tls, servers.client(Some(identity))).await.is_ok();
            assert_eq!(admitted, expected, "{common_name} at {host}");
        }
    }
    let stranger = Authority::new().issue_to("m1", "m1.example.org", 1);
    assert!(shake(&common, servers.client(Some(stranger))).await.is_err());
    let error = with(Hosts(names(&["no name"]))).unwrap_err().to_string();
    assert!(error.starts_with("allowed host name \"no name\": "), "{error}");
}

#[tokio::test]
async fn versions_and_suites_are_those_asked_for() {
    let authority = Authority::new();
    let folder = Folder::new(&authority.issue());
    let tls = folder.open(|_| {}).unwrap();
    let agreed = shake(&tls, authority.client(None)).await.unwrap();
    assert_eq!(agreed.version, rustls::ProtocolVersion::TLSv1_3);
    for (name, suite) in CipherSuite::ALL {
        let tls = folder.open(|settings| {
            settings.max_version = TlsVersion::Tls12;
            settings.suites = Some(vec![suite]);
        });
        let agreed = shake(&tls.unwrap(), authority.client(None)).await;
        if name.contains("_RSA_") {
            assert!(agreed.is_err(), "{name} with an ECDSA key");
        } else {
            let agreed = agreed.unwrap();
            assert_eq!(agreed.version, rustls::ProtocolVersion::TLSv1_2);
            assert_eq!(agreed.suite.as_str(), Some(name));
        }
    }
    let tls = folder.open(|settings| settings.min_version = TlsVersion::Tls13).unwrap();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(authority.cert.der().clone()).unwrap();
    let only_12 = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&version::TLS12])
        .unwrap();
    let old = only_12.with_root_certificates(roots).with_no_client_auth();
    assert!(shake(&tls, old).await.is_err(), "TLS 1.2 where 1.3 is the least");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_says_nothing_is_not_waited_for() {
    let folder = Folder::new(&Authority::new().issue());
    let tls = folder.open(|_| {}).unwrap();
    let (ours, _theirs) = duplex(64);
    assert_eq!(tls.accept(ours).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
}

#[test]
fn files_that_do_not_serve_are_named() {
    let authority = Authority::new();
    let (first, second) = (authority.issue(), authority.issue());
    let folder = Folder::new(&first);
    let text = |result: Result<Tls, TlsError>| result.unwrap_err().to_string();
    let cert = folder.path("cert").display().to_string();

    folder.write(&(first.0.clone(), second.1));
    let mismatch = text(folder.open(|_| {}));
    assert!(mismatch.starts_with(&format!("certificate {cert}: ")), "{mismatch}");
    folder.write(&("no PEM".to_owned(), first.1.clone()));
    let empty = text(folder.open(|_| {}));
    assert!(empty.starts_with(&format!("{cert} holds no certificate in PEM: ")), "{empty}");
    folder.write(&first);
    let missing = text(folder.open(|settings| settings.client_ca = Some("/nonexistent/ca".into())));
    assert!(missing.starts_with("/nonexistent/ca: No such file"), "{missing}");
}

#[tokio::test]
async fn a_generated_certificate_stays() {
    let folder = tempfile::tempdir().unwrap();
    let settings = config::Tls {
        certificate: Certificate::SelfSigned { years: 2 },
        client_ca: None,
        client_crl: None,
        allowed: config::AllowedNames::Any,
        suites: None,
        min_version: TlsVersion::Tls12,
        max_version: TlsVersion::Tls13,
    };
    let hosts = ["localhost", "127.0.0.1", ""].map(str::to_owned);
    let tls = Tls::open(&settings, folder.path(), &hosts).unwrap();
    let key = fs::metadata(folder.path().join("key.pem")).unwrap();
    assert_eq!(key.mode() & 0o777, 0o600);
    let cert = CertificateDer::from_pem_file(folder.path().join("cert.pem")).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(cert.clone()).unwrap();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    drop(tls);
    let again = Tls::open(&settings, folder.path(), &hosts).unwrap();
    assert_eq!(shake(&again, client).await.unwrap().cert, cert.to_vec());
}
