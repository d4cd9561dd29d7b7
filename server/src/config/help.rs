//! `--help`, from the table.

use std::fmt::Write;

use super::flags::{self, Category, Flag, Kind, Status};
use super::gates::GATES;

/// How the program is called; also what follows a command line that cannot be read.
pub fn usage() -> &'static str {
    "Usage:

  vetch [flags]
    Start a server.

  vetch playground [--members 3]
    Run a cluster in this process, on free ports, with data that is deleted at the end.

  vetch --version
    Show the version.

  vetch -h | --help
    Show the flags.

  vetch --config-file
    Path to the server configuration file. Note that if a configuration file is provided, other
    command line flags and environment variables will be ignored. Durations in it are integer
    nanoseconds (600000000000 for 10m).
"
}

/// Usage and every flag.
pub fn help() -> String {
    let mut text = usage().to_owned();
    for (category, flags) in flags::categories() {
        if *category == Category::Legacy {
            continue;
        }
        // Writing to a String cannot fail, here and below.
        let _ok = writeln!(text, "\n{}:", category.title());
        for flag in *flags {
            push_flag(&mut text, flag);
        }
    }
    text
}

fn push_flag(text: &mut String, flag: &Flag) {
    let _ok = writeln!(text, "  --{} '{}'", flag.name, flag.default);
    let _ok = writeln!(text, "    {}", flag.doc);
    match flag.status {
        Status::Supported => {}
        Status::Ignored(reason) => {
            let _ok = writeln!(text, "    No effect: {reason}.");
        }
        Status::Rejected(reason) => {
            let _ok = writeln!(text, "    Not supported: {reason}.");
        }
    }
    if flag.kind == Kind::Gates {
        for info in GATES {
            let (name, stage, default) = (info.name, info.stage.as_str(), info.default);
            let _ok = writeln!(text, "    {name}=true|false ({stage} - default={default})");
        }
    }
}
