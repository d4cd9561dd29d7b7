//! The command line, then either the file or the environment.

use super::command_line::{self, CommandLine};
use super::environment;
use super::error::ConfigError;
use super::file;
use super::resolve;
use super::settings::Settings;
use super::types::{Config, Notice, Severity};

/// What the user asked for.
#[derive(Debug)]
pub enum Loaded {
    /// Run with this.
    Run(Box<Config>),
    /// Print the version and exit.
    Version,
    /// Print the flags and exit.
    Help,
}

/// Reads `arguments` (without the program's name) and `variables`.
///
/// A configuration file, named by `--config-file` or `ETCD_CONFIG_FILE`, takes the place of all
/// other flags and variables.
pub fn load(arguments: &[String], variables: &[(String, String)]) -> Result<Loaded, ConfigError> {
    let mut settings = match command_line::parse(arguments)? {
        CommandLine::Help => return Ok(Loaded::Help),
        CommandLine::Run(settings) => settings,
    };
    if settings.bool("version") {
        return Ok(Loaded::Version);
    }
    let mut notices = Vec::new();
    if let Some(path) = config_file(&settings, variables) {
        let from_file = file::load(&path, &mut notices)?;
        notices.push(Notice {
            severity: Severity::Info,
            message: "loaded server configuration, other configuration command line flags and \
                      environment variables will be ignored if provided"
                .to_owned(),
            subject: path,
        });
        settings = from_file;
    } else {
        environment::apply(&mut settings, variables, &mut notices)?;
    }
    resolve::resolve(&settings, notices).map(|config| Loaded::Run(Box::new(config)))
}

fn config_file(settings: &Settings, variables: &[(String, String)]) -> Option<String> {
    let from_flag = settings.is_given("config-file").then(|| settings.text("config-file"));
    let from_environment = || {
        variables.iter().find(|(name, _)| name == "ETCD_CONFIG_FILE").map(|(_, path)| path.clone())
    };
    from_flag.or_else(from_environment).filter(|path| !path.is_empty())
}
