//! Reading the command line, the environment and a file, with etcd's errors.
#![expect(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "in a test a panic is the answer"
)]

mod cluster;
mod command_line;
mod sources;
mod tls;

use vetch_server::config::{Config, ConfigError, Loaded, load};

fn owned(arguments: &[&str]) -> Vec<String> {
    arguments.iter().map(|&text| text.to_owned()).collect()
}

fn run(arguments: &[&str], variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let variables: Vec<_> =
        variables.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
    match load(&owned(arguments), &variables)? {
        Loaded::Run(config) => Ok(*config),
        other => panic!("not a run: {other:?}"),
    }
}

fn error(arguments: &[&str]) -> (String, u8) {
    let error = run(arguments, &[]).unwrap_err();
    (error.to_string(), error.exit_code())
}
