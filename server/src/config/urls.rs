//! URLs of listeners and members, with etcd's checks.

use std::fmt;

/// How a listener is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scheme {
    /// Plaintext TCP.
    Http,
    /// TLS over TCP.
    Https,
    /// Plaintext over a Unix socket.
    Unix,
    /// TLS over a Unix socket.
    Unixs,
}

impl Scheme {
    const ALL: [(&'static str, Self); 4] = [
        ("http", Self::Http),
        ("https", Self::Https),
        ("unix", Self::Unix),
        ("unixs", Self::Unixs),
    ];

    /// Whether the URL asks for TLS.
    pub fn is_tls(self) -> bool {
        matches!(self, Self::Https | Self::Unixs)
    }

    /// Whether the URL names a socket file.
    pub fn is_unix(self) -> bool {
        matches!(self, Self::Unix | Self::Unixs)
    }
}

/// One URL: `scheme://host:port`, or `unix://` and a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Url {
    text: String,
    scheme: Scheme,
}

impl Url {
    /// Reads one URL; the error is etcd's text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let wrong_scheme = || format!("URL scheme must be http, https, unix, or unixs: {text}");
        let (scheme, rest) = text.split_once(':').ok_or_else(wrong_scheme)?;
        let scheme = Scheme::ALL
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(scheme))
            .map(|(_, scheme)| *scheme)
            .ok_or_else(wrong_scheme)?;
        let url = Self { text: text.to_owned(), scheme };
        if scheme.is_unix() {
            return Ok(url);
        }
        let authority = rest.strip_prefix("//").unwrap_or_default();
        let (authority, path) = match authority.find('/') {
            Some(at) => authority.split_at(at),
            None => (authority, ""),
        };
        if split_host_port(authority).is_none() {
            return Err(format!("URL address does not have the form \"host:port\": {text}"));
        }
        if !path.is_empty() {
            return Err(format!("URL must not contain a path: {text}"));
        }
        Ok(url)
    }

    /// How it is reached.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// `host:port`, or what follows `unix://`: the path of the socket.
    pub fn address(&self) -> &str {
        let rest = self.text.split_once(':').map_or("", |(_, rest)| rest);
        rest.strip_prefix("//").unwrap_or(rest)
    }

    /// The host without brackets; empty for a Unix socket.
    pub fn host(&self) -> &str {
        if self.scheme.is_unix() {
            return "";
        }
        split_host_port(self.address()).map_or("", |(host, _)| host)
    }

    /// The port; `None` for a Unix socket or a name of a service.
    pub fn port(&self) -> Option<u16> {
        split_host_port(self.address()).and_then(|(_, port)| port.parse().ok())
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// A listener needs an IP address or `localhost`: names are not resolved to bind.
    pub(super) fn check_bind(&self) -> Result<(), String> {
        let host = self.host();
        let fits = self.scheme.is_unix()
            || host.is_empty()
            || host == "localhost"
            || host.parse::<std::net::IpAddr>().is_ok();
        if fits { Ok(()) } else { Err(format!("expected IP in URL for binding ({self})")) }
    }

    /// Others can only reach a URL that names a host.
    pub(super) fn check_host(&self) -> Result<(), String> {
        if self.scheme.is_unix() || !self.host().is_empty() {
            Ok(())
        } else {
            Err(format!("unexpected empty host ({self})"))
        }
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// `host:port`, `[v6]:port` or `:port`, both parts without brackets.
pub(crate) fn split_host_port(text: &str) -> Option<(&str, &str)> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']')?;
        return Some((host, rest.strip_prefix(':')?));
    }
    let (host, port) = text.rsplit_once(':')?;
    (!host.contains(':')).then_some((host, port))
}

/// Comma-separated URLs, sorted as etcd sorts them.
pub(super) fn parse_urls(text: &str) -> Result<Vec<Url>, String> {
    let mut urls = text.split(',').map(Url::parse).collect::<Result<Vec<_>, _>>()?;
    urls.sort();
    Ok(urls)
}

/// `a,b`.
pub(super) fn join(urls: &[Url]) -> String {
    urls.iter().map(Url::as_str).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_urls_are_refused_in_etcds_words() {
        let cases = [
            ("foo", "URL scheme must be http, https, unix, or unixs: foo"),
            ("ftp://a:1", "URL scheme must be http, https, unix, or unixs: ftp://a:1"),
            ("http://a.b", "URL address does not have the form \"host:port\": http://a.b"),
            ("http://0.0.0.0:1/x", "URL must not contain a path: http://0.0.0.0:1/x"),
        ];
        for (text, expected) in cases {
            assert_eq!(Url::parse(text), Err(expected.to_owned()));
        }
    }

    #[test]
    fn parts_of_a_url() {
        let v6 = Url::parse("https://[::1]:2379").unwrap();
        assert_eq!((v6.host(), v6.port(), v6.scheme()), ("::1", Some(2379), Scheme::Https));
        let unix = Url::parse("unix:///run/vetch.sock").unwrap();
        assert_eq!((unix.address(), unix.host(), unix.port()), ("/run/vetch.sock", "", None));
        assert!(unix.check_bind().is_ok());
    }
}
