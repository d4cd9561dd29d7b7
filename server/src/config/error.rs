//! Why a configuration is refused.

/// Texts are etcd's where etcd has one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// `---x`, `--=x`.
    #[error("bad flag syntax: {0}")]
    Syntax(String),
    /// No such flag, with what to write instead if there is something.
    #[error("flag provided but not defined: -{name}{}", remedy.as_deref().map(|text| format!(" ({text})")).unwrap_or_default())]
    NotDefined {
        /// Without dashes.
        name: String,
        /// What to write instead.
        remedy: Option<String>,
    },
    /// The flag stands last and takes a value.
    #[error("flag needs an argument: -{0}")]
    NeedsArgument(String),
    /// The value cannot be read as the flag's type.
    #[error("{}", bad_value(*boolean, value, flag, cause))]
    BadValue {
        /// Without dashes.
        flag: String,
        /// As written.
        value: String,
        /// What is wrong with it.
        cause: String,
        /// Go words this differently for booleans.
        boolean: bool,
    },
    /// The variable's value cannot be read as the flag's type.
    #[error("invalid value {value:?} for {variable}: {cause}")]
    BadVariable {
        /// With `ETCD_`.
        variable: String,
        /// As written.
        value: String,
        /// What is wrong with it.
        cause: String,
    },
    /// A flag and its variable are both set.
    #[error(
        "conflicting environment variable is shadowed by corresponding command-line flag (either \
         unset environment variable or disable flag): {0}"
    )]
    Shadowed(String),
    /// Something that is not a flag.
    #[error("{0:?} is not a valid flag")]
    Positional(String),
    /// The configuration file cannot be read or understood.
    #[error("configuration file {path}: {cause}")]
    File {
        /// As written.
        path: String,
        /// What is wrong with it.
        cause: String,
    },
    /// etcd knows the flag, Vetch does not do it.
    #[error("--{flag}={value} is not supported: {reason}")]
    NotBuilt {
        /// Without dashes.
        flag: String,
        /// As written.
        value: String,
        /// Why, and what to do.
        reason: String,
    },
    /// The settings contradict each other or a limit.
    #[error("{0}")]
    Invalid(String),
}

fn bad_value(boolean: bool, value: &str, flag: &str, cause: &str) -> String {
    if boolean {
        format!("invalid boolean value {value:?} for -{flag}: {cause}")
    } else {
        format!("invalid value {value:?} for flag -{flag}: {cause}")
    }
}

impl ConfigError {
    /// Whether the command line itself could not be read, so that usage should follow.
    pub fn is_usage(&self) -> bool {
        match self {
            Self::Syntax(_)
            | Self::NotDefined { .. }
            | Self::NeedsArgument(_)
            | Self::BadValue { .. } => true,
            Self::BadVariable { .. }
            | Self::Shadowed(_)
            | Self::Positional(_)
            | Self::File { .. }
            | Self::NotBuilt { .. }
            | Self::Invalid(_) => false,
        }
    }

    /// etcd's: 2 for a command line that cannot be read, else 1.
    pub fn exit_code(&self) -> u8 {
        if self.is_usage() { 2 } else { 1 }
    }
}
