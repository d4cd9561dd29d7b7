//! Certificates, for clients and between members.

use super::{error, run};

#[test]
fn tls_flags_go_together_or_are_refused() {
    const HTTPS: [&str; 2] =
        ["--listen-client-urls=https://127.0.0.1:1", "--advertise-client-urls=https://127.0.0.1:1"];
    const FILES: [&str; 2] = ["--cert-file=/c", "--key-file=/k"];
    for (more, text) in [
        (
            &[][..],
            "TLS key/cert (--cert-file, --key-file) must be provided for client url \
             https://127.0.0.1:1 with HTTPS scheme",
        ),
        (&["--cert-file=/c"], "KeyFile and CertFile must both be present[key: , cert: /c]"),
        (&["--auto-tls", "--self-signed-cert-validity=0"], "--self-signed-cert-validity should be"),
        (&["--auto-tls", "--trusted-ca-file=/a"], "--auto-tls cannot check client certificates"),
        (&["--client-cert-auth"], "--client-cert-auth needs --trusted-ca-file"),
        (
            &["--auto-tls", "--client-cert-allowed-hostname=a"],
            "--client-cert-allowed-hostname needs --trusted-ca-file",
        ),
        (&["--auto-tls", "--client-crl-file=a"], "--client-crl-file needs --trusted-ca-file"),
        (
            &["--tls-min-version=TLS1.3", "--tls-max-version=TLS1.2"],
            "min version (TLS1.3) is greater than max version (TLS1.2)",
        ),
        (
            &["--tls-min-version=TLS1.3", "--cipher-suites=TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"],
            "cipher suites cannot be configured when only TLS1.3 is enabled",
        ),
        (
            &["--cipher-suites=TLS_RSA_WITH_AES_128_CBC_SHA"],
            "unexpected TLS cipher suite \"TLS_RSA_WITH_AES_128_CBC_SHA\"",
        ),
    ] {
        let (found, code) = error(&[&HTTPS[..], more].concat());
        assert!(found.starts_with(text) && code == 1, "{more:?}: {found}");
    }
    let (found, _code) = error(&["--trusted-ca-file=/a"]);
    assert!(found.starts_with("--trusted-ca-file needs --cert-file and --key-file"), "{found}");

    let config = run(&[&HTTPS[..], &FILES].concat(), &[]).unwrap();
    assert!(config.tls.is_some() && config.notices.iter().all(|n| !n.message.contains("scheme")));
    let config = run(&FILES, &[]).unwrap();
    let notice = config.notices.iter().find(|n| n.subject == "http://localhost:2379").unwrap();
    assert!(notice.message.contains("ignoring key and cert files"), "{notice:?}");
}

#[test]
fn flags_about_tls_between_members_go_together_or_are_refused() {
    const HTTPS: &str = "--listen-peer-urls=https://127.0.0.1:1";
    for (arguments, text) in [
        (
            &[HTTPS][..],
            "TLS key/cert (--peer-cert-file, --peer-key-file) must be provided for peer url \
             https://127.0.0.1:1 with HTTPS scheme",
        ),
        (
            &["--initial-advertise-peer-urls=https://a:1"],
            "TLS key/cert (--peer-cert-file, --peer-key-file) must be provided for peer url \
             https://a:1 with HTTPS scheme",
        ),
        (&["--peer-cert-file=/c"], "KeyFile and CertFile must both be present[key: , cert: /c]"),
        (&["--peer-cert-file=/c", "--peer-key-file=/k"], "--peer-cert-file needs --peer-trusted"),
        (&["--peer-trusted-ca-file=/a"], "--peer-trusted-ca-file needs --peer-cert-file"),
        (&["--peer-client-cert-auth"], "--peer-client-cert-auth needs --peer-trusted-ca-file"),
        (
            &["--peer-auto-tls", "--peer-trusted-ca-file=/a"],
            "--peer-auto-tls cannot check client certificates: give --peer-cert-file",
        ),
        (
            &["--peer-auto-tls", "--peer-client-key-file=/k"],
            "KeyFile and CertFile must both be present[key: /k, cert: ]",
        ),
        (
            &["--peer-cert-allowed-cn=a"],
            "--peer-cert-allowed-cn needs --peer-trusted-ca-file, whose certificates it is about",
        ),
        (
            &["--peer-auto-tls", "--peer-cert-allowed-hostname=a"],
            "--peer-cert-allowed-hostname needs --peer-trusted-ca-file",
        ),
        (&["--peer-crl-file=a"], "--peer-crl-file needs --peer-trusted-ca-file"),
        (
            &[
                "--peer-trusted-ca-file=/a",
                "--peer-cert-allowed-hostname=x,y",
                "--peer-cert-allowed-cn=b,c",
            ],
            "AllowedCN and AllowedHostname are mutually exclusive (cns=[b c], hostnames=[x y])",
        ),
    ] {
        let (found, code) = error(arguments);
        assert!(found.starts_with(text) && code == 1, "{arguments:?}: {found}");
    }
    assert!(run(&[HTTPS, "--peer-auto-tls"], &[]).unwrap().peer_tls.is_some());
    let files = ["--peer-cert-file=/c", "--peer-key-file=/k", "--peer-trusted-ca-file=/a"];
    let listed = run(&[&files[..], &["--peer-crl-file=/r"]].concat(), &[]).unwrap();
    assert_eq!(listed.peer_tls.unwrap().listen.client_crl, Some("/r".into()));
    let files = ["--cert-file=/c", "--key-file=/k", "--trusted-ca-file=/a"];
    let listed = run(&[&files[..], &["--client-crl-file=/r"]].concat(), &[]).unwrap();
    assert_eq!(listed.tls.unwrap().client_crl, Some("/r".into()));
}
