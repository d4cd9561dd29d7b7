//! What the command-line tools have in common.

use super::error::HarnessError;
use clap::Args;
use std::fmt::Display;
use std::path::PathBuf;
use std::process::ExitCode;

/// Which server is tested.
#[derive(Clone, Debug, Args)]
pub struct ServerArgs {
    /// The server: any program with etcd's flags.
    #[arg(long = "server-bin")]
    pub binary: PathBuf,
    /// A flag for the server; may be repeated.
    #[arg(long = "server-arg", allow_hyphen_values = true)]
    pub extra_args: Vec<String>,
}

/// What a run found out.
pub trait Report: Display {
    /// True if nothing is wrong.
    fn passed(&self) -> bool;
}

/// Carries out `run` in a new folder and prints its report. The folder, with the server's log, is
/// kept if something is wrong.
#[expect(clippy::print_stdout, clippy::print_stderr, reason = "it speaks for command-line tools")]
pub async fn run_in_folder<R: Report>(
    name: &str,
    run: impl AsyncFnOnce(PathBuf) -> Result<R, HarnessError>,
) -> ExitCode {
    let folder = match tempfile::Builder::new().prefix(&format!("{name}-")).tempdir() {
        Ok(folder) => folder,
        Err(error) => {
            eprintln!("a folder cannot be made: {error}");
            return ExitCode::FAILURE;
        }
    };
    match run(folder.path().to_owned()).await {
        Ok(report) => {
            print!("{report}");
            if report.passed() {
                return ExitCode::SUCCESS;
            }
            println!("log and data: {}", folder.keep().display());
            println!("FAILED");
        }
        Err(error) => {
            eprintln!("{error}");
            eprintln!("log and data: {}", folder.keep().display());
        }
    }
    ExitCode::FAILURE
}
