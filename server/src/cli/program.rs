//! Which program was asked for, by its name or its first word.

use std::path::Path;

use crate::version;

/// What the executable can be: one file, many names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Program {
    /// `vetch`, or `etcd` as a link to it.
    Server,
    /// `vetch playground`, with what follows.
    Playground,
    /// A program of etcd's that Vetch does not have, with what to do instead.
    NotBuilt(&'static str),
}

impl Program {
    /// Reads the name the executable was called by, and its first argument.
    pub fn of(called_as: &str, first_argument: Option<&str>) -> Self {
        let name = Path::new(called_as).file_stem().and_then(|name| name.to_str());
        match (name, first_argument) {
            (Some("etcdctl" | "etcdutl"), _) => {
                Self::NotBuilt("etcdctl and etcdutl are not part of vetch: use etcd's own")
            }
            (_, Some("gateway")) => Self::NotBuilt("the TCP gateway is not built"),
            (_, Some("grpc-proxy")) => Self::NotBuilt("the gRPC proxy is not built"),
            (_, Some("playground")) => Self::Playground,
            _server => Self::Server,
        }
    }
}

/// What `--version` prints. The first line is etcd's, for those who parse it.
pub fn version_lines() -> String {
    format!(
        "etcd Version: {}\nVetch Version: {}\nGit SHA: {}\nOS/Arch: {}/{}\n",
        version::API_VERSION,
        version::VETCH_VERSION,
        option_env!("VETCH_GIT_SHA").unwrap_or("unknown"),
        std::env::consts::OS,
        std::env::consts::ARCH,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_called_etcd_is_the_server() {
        assert_eq!(Program::of("/usr/local/bin/etcd", Some("--name")), Program::Server);
        assert_eq!(Program::of("vetch", None), Program::Server);
        assert_eq!(Program::of("vetch", Some("playground")), Program::Playground);
        for (name, first) in [("/bin/etcdctl", None), ("etcd", Some("grpc-proxy"))] {
            assert!(matches!(Program::of(name, first), Program::NotBuilt(_)), "{name}");
        }
    }
}
