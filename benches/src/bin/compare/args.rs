//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};

/// Loads real etcd and Vetch side by side and prints a table of ratios.
///
/// Both run as child processes on free loopback ports, each with a fresh data folder on the same
/// disk, default settings and fsync on. Rounds alternate; one server is loaded, the other idle.
#[derive(Debug, Parser)]
#[command(name = "compare", version)]
pub(crate) struct Args {
    /// Row groups to measure, comma separated; all of them when not given.
    #[arg(long, value_delimiter = ',', value_enum)]
    pub(crate) rows: Vec<Group>,
    /// 100,000 keys instead of 1,000,000, 64 MiB for 1 GiB, and shorter rounds. Musts about the big
    /// stores are then not judged.
    #[arg(long)]
    pub(crate) quick: bool,
    /// Rounds per row and server [default: 5, quick 3; at most 3 for rows on the big store]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rounds: Option<u32>,
    /// Real etcd [default: in `$INTEROP_BIN`, else in `interop/.bin`]
    #[arg(long)]
    pub(crate) etcd_bin: Option<PathBuf>,
    /// The server compared with it [default: `vetch` beside this program]
    #[arg(long)]
    pub(crate) vetch_bin: Option<PathBuf>,
    /// A further flag for etcd; may be repeated.
    #[arg(long, allow_hyphen_values = true)]
    pub(crate) etcd_arg: Vec<String>,
    /// A further flag for Vetch; may be repeated.
    #[arg(long, allow_hyphen_values = true)]
    pub(crate) vetch_arg: Vec<String>,
    /// Measure one side only; ratios stay empty.
    #[arg(long, value_enum)]
    pub(crate) only: Option<Side>,
    /// Where data folders are made: on a real disk [default: target/compare]
    #[arg(long)]
    pub(crate) dir: Option<PathBuf>,
    /// Writes the figures, every round of them, as JSON.
    #[arg(long)]
    pub(crate) json: Option<PathBuf>,
    /// Exit with status 1 when a must is missed.
    #[arg(long)]
    pub(crate) check: bool,
}

/// Rows that are measured together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Group {
    /// put 256 B, 1 client
    #[value(name = "put-1")]
    Put1,
    /// put 256 B, 256 clients
    #[value(name = "put-256")]
    Put256,
    /// compare mod revision, put 1 KiB; 64 clients
    #[value(name = "txn-64")]
    Txn,
    /// linearizable get, 64 clients
    #[value(name = "get-64")]
    Get,
    /// lease keepalive, 64 clients
    Keepalive,
    /// 1,000 watchers of one key
    Watch,
    /// 10,000 leases due at once
    Leases,
    /// page of 500 and `count_only`, small and big store
    Range,
    /// RSS and disk size of the big store
    Memory,
    /// restart of the big store
    Restart,
    /// longest put gap beside heavy work on the big store
    Gaps,
    /// three members: put 256 B, 1 client at the leader
    #[value(name = "3-put-1")]
    ThreePut1,
    /// three members: put 256 B, 64 clients at the leader
    #[value(name = "3-put-64")]
    ThreePut64,
    /// three members: linearizable get, 64 clients
    #[value(name = "3-get-64")]
    ThreeGet,
    /// three members: longest put gap when the leader is killed
    #[value(name = "3-kill")]
    ThreeKill,
    /// three members: longest put gap when the leader is stopped by SIGTERM
    #[value(name = "3-stop")]
    ThreeStop,
    /// three members: a store of 1 GiB to a fourth, beside steady puts
    #[value(name = "3-join")]
    ThreeJoin,
}

/// One of the two servers compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Side {
    /// Real etcd.
    Etcd,
    /// What is compared with it.
    Vetch,
}

impl Side {
    /// Both, in the order of every round.
    pub(crate) const ALL: [Self; 2] = [Self::Etcd, Self::Vetch];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::Vetch => "vetch",
        }
    }
}

impl Args {
    pub(crate) fn wants(&self, group: Group) -> bool {
        self.rows.is_empty() || self.rows.contains(&group)
    }

    pub(crate) fn sides(&self) -> impl Iterator<Item = Side> {
        let only = self.only;
        Side::ALL.into_iter().filter(move |side| only.is_none_or(|only| only == *side))
    }

    pub(crate) fn rounds(&self) -> u32 {
        self.rounds.unwrap_or(if self.quick { 3 } else { 5 })
    }

    /// Rounds of what takes seconds each on the big store.
    pub(crate) fn heavy_rounds(&self) -> u32 {
        self.rounds().min(if self.quick { 2 } else { 3 })
    }

    /// One round of a closed loop.
    pub(crate) fn round(&self) -> Duration {
        Duration::from_millis(if self.quick { 1_000 } else { 3_000 })
    }

    /// Load before the first round that is not measured.
    pub(crate) fn warm_up(&self) -> Duration {
        Duration::from_millis(if self.quick { 300 } else { 1_000 })
    }

    /// Keys of the store a new member has to be sent, with values of 1 KiB.
    pub(crate) fn sent(&self) -> u64 {
        if self.quick { 1 << 16 } else { 1 << 20 }
    }

    /// Keys of the big store.
    pub(crate) fn big(&self) -> u64 {
        if self.quick { 100_000 } else { 1_000_000 }
    }
}
