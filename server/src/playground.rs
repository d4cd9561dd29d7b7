//! `vetch playground`: a whole cluster in one process, for a first look. Its data goes with it.

use std::fmt::Write;
use std::io;
use std::net::SocketAddr;
use std::path::Path;

use futures::future::join_all;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, ConfigError, Listen, Loaded, Url, load};
use crate::node::{self, RunError, Sockets, StartError};

/// What a member may use for caches and write buffers: several share a machine here.
const MEMORY_BYTES: u64 = 64 << 20;

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Playground {
    /// 1 to 7, as many as a cluster may well have.
    pub members: usize,
}

/// Why there is no playground.
#[derive(Debug, thiserror::Error)]
pub enum PlaygroundError {
    /// No room for its data.
    #[error("a temporary directory: {0}")]
    Directory(#[from] io::Error),
    /// No ports.
    #[error(transparent)]
    Ports(#[from] StartError),
    /// Its own flags contradict each other.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A member did not start, or had to stop.
    #[error(transparent)]
    Member(#[from] RunError),
}

impl Playground {
    /// How it is called.
    pub const USAGE: &str = "Usage:

  vetch playground [--members 3]
    Run a cluster of 1 to 7 members in this process, on free ports, with data that is deleted at the end.
";

    /// Reads what follows `playground`; `None` when that cannot be read, or is a call for help.
    pub fn parse(arguments: &[String]) -> Option<Self> {
        let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let members = match words[..] {
            [] => Some(3),
            ["--members" | "-members", count] => count.parse().ok(),
            [flag] => flag.trim_start_matches('-').strip_prefix("members=")?.parse().ok(),
            _ => None,
        };
        members.filter(|members| (1..=7).contains(members)).map(|members| Self { members })
    }

    /// Runs it until `stopped`; `ready` is given what to tell the user once every member serves.
    pub async fn run(
        self,
        ready: impl FnOnce(&str),
        stopped: impl Future,
    ) -> Result<(), PlaygroundError> {
        let data = TempDir::with_prefix("vetch-playground-")?;
        let members = self.prepare(data.path())?;
        let clients: Vec<SocketAddr> =
            members.iter().flat_map(|(sockets, _)| sockets.client_addrs()).collect();
        let (stop, (serves, mut served)) = (CancellationToken::new(), mpsc::unbounded_channel());
        let running = join_all(members.into_iter().map(|(sockets, config)| {
            let (serves, stop) = (serves.clone(), stop.clone());
            async move {
                // Nobody listens any more when the end has come already.
                let ready = move || serves.send(()).unwrap_or_default();
                let ended = node::run_at(sockets, config, ready, stop.cancelled()).await;
                // One that fails takes the others along.
                stop.cancel();
                ended
            }
        }));
        drop(serves);
        let announced = async {
            for _ in 0..self.members {
                if served.recv().await.is_none() {
                    return;
                }
            }
            ready(&introduction(&clients, data.path()));
        };
        let watching = async {
            stopped.await;
            stop.cancel();
        };
        tokio::pin!(running);
        let ended = tokio::select! {
            ended = &mut running => ended,
            ((), ()) = async { tokio::join!(announced, watching) } => running.await,
        };
        ended.into_iter().collect::<Result<(), RunError>>()?;
        Ok(())
    }

    /// Each member's sockets and configuration. The ports are chosen first, as every member is told of
    /// all of them.
    fn prepare(self, data: &Path) -> Result<Vec<(Sockets, Config)>, PlaygroundError> {
        let anywhere = || Url::parse("http://127.0.0.1:0").map_err(ConfigError::Invalid);
        let mut sockets = Vec::new();
        for _ in 0..self.members {
            let listen = Listen {
                peer_urls: vec![anywhere()?],
                client_urls: vec![anywhere()?],
                client_http_urls: Vec::new(),
                metrics_urls: Vec::new(),
                reuse_port: false,
            };
            sockets.push(Sockets::bind(&listen)?);
        }
        let name =
            |(number, at): (usize, &Sockets)| format!("m{number}={}", urls(&at.peer_addrs()));
        let all: Vec<String> = (1..).zip(&sockets).map(name).collect();
        let members = (1..).zip(sockets).map(|(number, sockets)| {
            let config = member(number, &sockets, &all.join(","), data)?;
            Ok((sockets, config))
        });
        members.collect()
    }
}

fn urls(addresses: &[SocketAddr]) -> String {
    let urls: Vec<String> = addresses.iter().map(|at| format!("http://{at}")).collect();
    urls.join(",")
}

fn member(
    number: usize,
    sockets: &Sockets,
    cluster: &str,
    data: &Path,
) -> Result<Config, ConfigError> {
    let (client, peer) = (urls(&sockets.client_addrs()), urls(&sockets.peer_addrs()));
    let flags = [
        format!("--name=m{number}"),
        format!("--data-dir={}", data.join(format!("m{number}")).display()),
        format!("--initial-cluster={cluster}"),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--listen-client-urls={client}"),
        format!("--advertise-client-urls={client}"),
        format!("--memory-budget={MEMORY_BYTES}"),
    ];
    match load(&flags, &[])? {
        Loaded::Run(config) => Ok(*config),
        Loaded::Version | Loaded::Help => unreachable!("neither was asked for"),
    }
}

fn introduction(clients: &[SocketAddr], data: &Path) -> String {
    let mut text = String::from("A cluster runs in this process. Its members serve clients at\n\n");
    for (number, client) in (1..).zip(clients) {
        // Writing to a String cannot fail.
        let _ok = writeln!(text, "  m{number}  http://{client}");
    }
    let endpoints: Vec<String> = clients.iter().map(ToString::to_string).collect();
    let endpoints = endpoints.join(",");
    let _ok = write!(
        text,
        "\nTry, in another terminal:\n\n  etcdctl --endpoints={endpoints} put greeting hello\n  \
         etcdctl --endpoints={endpoints} endpoint status -w table\n\nCtrl-C ends it, and deletes its \
         data in {}.\n",
        data.display()
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_size_is_three_or_what_was_asked_for() {
        let parse = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
            Playground::parse(&words).map(|playground| playground.members)
        };
        assert_eq!(parse(&[]), Some(3));
        assert_eq!(parse(&["--members", "5"]), Some(5));
        assert_eq!(parse(&["-members=1"]), Some(1));
        for words in [&["--members", "0"][..], &["--members=8"], &["--size=3"], &["--members"]] {
            assert_eq!(parse(words), None, "{words:?}");
        }
    }
}
