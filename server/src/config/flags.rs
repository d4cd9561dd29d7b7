//! The table of flags: what each is called, what it takes, and whether it does anything here.

use super::table;

/// Where `--help` and `docs/flags.md` put a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Category {
    /// This member.
    Member,
    /// Bootstrap and membership.
    Clustering,
    /// TLS and HTTP origins.
    Security,
    /// Tokens and passwords.
    Auth,
    /// Metrics and profiling.
    Monitoring,
    /// Logs.
    Logging,
    /// OpenTelemetry.
    Tracing,
    /// Compaction, checks, warnings.
    Features,
    /// May lose data.
    Unsafe,
    /// Not in etcd.
    Vetch,
    /// Accepted and without effect since before etcd 0.5.
    Legacy,
}

impl Category {
    /// The heading.
    pub fn title(self) -> &'static str {
        match self {
            Self::Member => "Member",
            Self::Clustering => "Clustering",
            Self::Security => "Security",
            Self::Auth => "Auth",
            Self::Monitoring => "Profiling and Monitoring",
            Self::Logging => "Logging",
            Self::Tracing => "Distributed tracing",
            Self::Features => "Features",
            Self::Unsafe => "Unsafe feature",
            Self::Vetch => "Vetch (not in etcd)",
            Self::Legacy => "Legacy",
        }
    }
}

/// What a flag takes, and how it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false` in Go's spellings; needs no argument on the command line.
    Bool,
    /// Any text.
    Text,
    /// A signed 64-bit integer.
    Int,
    /// An unsigned 64-bit integer.
    Uint,
    /// An unsigned 32-bit integer.
    Uint32,
    /// Go's notation (`1h2m`, `100ms`); in a file an integer of nanoseconds.
    Duration,
    /// Comma-separated URLs.
    Urls,
    /// Comma-separated URLs, or `*`.
    Origins,
    /// Comma-separated texts; in a file one text with commas.
    Words,
    /// Comma-separated texts; in a file a sequence.
    Sequence,
    /// One of the given words.
    OneOf(&'static [&'static str]),
    /// `Name=true|false`, comma-separated.
    Gates,
}

/// What Vetch does with a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// In effect.
    Supported,
    /// Accepted and without effect; the reason is logged when it is set.
    Ignored(&'static str),
    /// Any value but the default stops the start with the reason.
    Rejected(&'static str),
}

/// One flag.
#[derive(Clone, Copy, Debug)]
pub struct Flag {
    /// Without dashes.
    pub name: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// As one would write it on the command line; what `--help` shows.
    pub default: &'static str,
    /// Dotted path in the configuration file, if it can stand there.
    pub yaml: Option<&'static str>,
    /// One sentence.
    pub doc: &'static str,
    /// What Vetch does with it.
    pub status: Status,
    /// etcd's warning for a deprecated flag.
    pub deprecated: Option<&'static str>,
}

impl Flag {
    /// A supported flag whose key in a file is its name.
    pub(super) const fn new(
        name: &'static str,
        kind: Kind,
        default: &'static str,
        doc: &'static str,
    ) -> Self {
        let status = Status::Supported;
        Self { name, kind, default, yaml: Some(name), doc, status, deprecated: None }
    }

    pub(super) const fn yaml(mut self, path: &'static str) -> Self {
        self.yaml = Some(path);
        self
    }

    pub(super) const fn no_yaml(mut self) -> Self {
        self.yaml = None;
        self
    }

    pub(super) const fn ignored(mut self, reason: &'static str) -> Self {
        self.status = Status::Ignored(reason);
        self
    }

    pub(super) const fn rejected(mut self, reason: &'static str) -> Self {
        self.status = Status::Rejected(reason);
        self
    }

    pub(super) const fn deprecated(mut self, warning: &'static str) -> Self {
        self.deprecated = Some(warning);
        self
    }

    /// The environment variable of this flag: `ETCD_DATA_DIR` for `--data-dir`.
    pub fn env(&self) -> String {
        format!("ETCD_{}", self.name.to_ascii_uppercase().replace('-', "_"))
    }
}

/// Every flag by category, in the order of `--help`.
pub fn categories() -> &'static [(Category, &'static [Flag])] {
    table::CATEGORIES
}

/// Every flag.
pub fn all() -> impl Iterator<Item = &'static Flag> {
    categories().iter().flat_map(|(_, flags)| flags.iter())
}

/// The flag of this name, without dashes.
pub fn find(name: &str) -> Option<&'static Flag> {
    all().find(|flag| flag.name == name)
}
