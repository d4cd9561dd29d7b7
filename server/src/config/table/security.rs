//! Flags about TLS, HTTP origins and authentication.

use crate::config::flags::Flag;
use crate::config::flags::Kind::{Bool, OneOf, Origins, Sequence, Text, Uint, Words};

const OWN_CLIENT: &str = "a member calls itself for the JSON gateway only, which is not built yet";

pub(super) const FLAGS: &[Flag] = &[
    Flag::new(
        "cert-file",
        Text,
        "",
        "Certificate chain of the client listeners, in PEM; read anew when it changes.",
    )
    .yaml("client-transport-security.cert-file"),
    Flag::new("key-file", Text, "", "Key of --cert-file, in PEM.")
        .yaml("client-transport-security.key-file"),
    Flag::new("client-cert-file", Text, "", "Certificate of the server's own client.")
        .yaml("client-transport-security.client-cert-file")
        .ignored(OWN_CLIENT),
    Flag::new("client-key-file", Text, "", "Key of the server's own client.")
        .yaml("client-transport-security.client-key-file")
        .ignored(OWN_CLIENT),
    Flag::new("client-cert-auth", Bool, "false", "Require client certificates.")
        .yaml("client-transport-security.client-cert-auth"),
    Flag::new(
        "client-crl-file",
        Text,
        "",
        "Revocation lists for client certificates, in PEM or DER, signed by their authorities; read anew \
         when they change. Needs --trusted-ca-file.",
    )
    .no_yaml(),
    Flag::new(
        "client-cert-allowed-hostname",
        Sequence,
        "",
        "Accepted SANs of client certificates. Needs --trusted-ca-file.",
    )
    .yaml("client-transport-security.allowed-hostname"),
    Flag::new(
        "trusted-ca-file",
        Text,
        "",
        "CA of client certificates, in PEM; clients must show one of its certificates.",
    )
    .yaml("client-transport-security.trusted-ca-file"),
    Flag::new(
        "auto-tls",
        Bool,
        "false",
        "Client TLS with a certificate generated in <data-dir>/fixtures/client.",
    )
    .yaml("client-transport-security.auto-tls"),
    Flag::new("peer-cert-file", Text, "", "Certificate of the peer listeners.")
        .yaml("peer-transport-security.cert-file"),
    Flag::new("peer-key-file", Text, "", "Key of the peer listeners.")
        .yaml("peer-transport-security.key-file"),
    Flag::new("peer-client-cert-file", Text, "", "Certificate used when dialling peers.")
        .yaml("peer-transport-security.client-cert-file"),
    Flag::new("peer-client-key-file", Text, "", "Key used when dialling peers.")
        .yaml("peer-transport-security.client-key-file"),
    Flag::new(
        "peer-client-cert-auth",
        Bool,
        "false",
        "Require certificates from peers, as --peer-trusted-ca-file alone does.",
    )
    .yaml("peer-transport-security.client-cert-auth"),
    Flag::new(
        "peer-trusted-ca-file",
        Text,
        "",
        "CA of peer certificates, in PEM; peers must show one of its certificates, both ways.",
    )
    .yaml("peer-transport-security.trusted-ca-file"),
    Flag::new(
        "peer-cert-allowed-cn",
        Sequence,
        "",
        "Accepted CNs of peer certificates, both ways. Needs --peer-trusted-ca-file.",
    )
    .yaml("peer-transport-security.allowed-cn"),
    Flag::new(
        "peer-cert-allowed-hostname",
        Sequence,
        "",
        "Accepted SANs of peer certificates, both ways. Needs --peer-trusted-ca-file.",
    )
    .yaml("peer-transport-security.allowed-hostname"),
    Flag::new(
        "peer-auto-tls",
        Bool,
        "false",
        "Peer TLS with a certificate generated in <data-dir>/fixtures/peer; peers believe any.",
    )
    .yaml("peer-transport-security.auto-tls"),
    Flag::new(
        "peer-crl-file",
        Text,
        "",
        "Revocation lists for certificates of peers that connect, in PEM or DER, signed by their \
         authorities; read anew when they change. Needs --peer-trusted-ca-file.",
    )
    .no_yaml(),
    Flag::new(
        "peer-skip-client-san-verification",
        Bool,
        "false",
        "Do not check the SAN of connecting peers.",
    )
    .yaml("peer-transport-security.skip-client-san-verification")
    .ignored(
        "the names of connecting peers are not compared with their addresses; their authority is",
    ),
    Flag::new("self-signed-cert-validity", Uint, "1", "Years a generated certificate is valid."),
    Flag::new("cipher-suites", Sequence, "", "TLS 1.2 cipher suites."),
    Flag::new("tls-min-version", OneOf(&["", "TLS1.2", "TLS1.3"]), "TLS1.2", "Lowest TLS version."),
    Flag::new("tls-max-version", OneOf(&["", "TLS1.2", "TLS1.3"]), "", "Highest TLS version."),
    Flag::new("cors", Origins, "*", "Origins that browsers may call from; * or nothing for all."),
    Flag::new(
        "host-whitelist",
        Words,
        "*",
        "Accepted Host headers of plaintext HTTP requests; * or nothing for all.",
    ),
];

pub(super) const AUTH: &[Flag] = &[
    Flag::new("auth-token", Text, "simple", "Type of authentication tokens and its options.")
        .rejected("only 'simple' is accepted until authentication is built"),
    Flag::new("bcrypt-cost", Uint, "10", "Cost of password hashes, 4 to 31.")
        .ignored("authentication is not built yet; its requests are refused"),
    Flag::new("auth-token-ttl", Uint, "300", "Seconds until an unused token ends.")
        .ignored("authentication is not built yet; its requests are refused"),
];
