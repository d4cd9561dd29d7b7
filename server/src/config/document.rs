//! `docs/flags.md`, from the table.

use std::fmt::Write;

use super::flags::{self, Flag, Kind, Status};
use super::gates::GATES;

const HEAD: &str = "# Flags

Generated from the table in `server/src/config/table/`; do not edit.
`UPDATE_DOCS=1 cargo test -p vetch-server --test flags_document` writes it anew.

Every flag is also an environment variable (`ETCD_` and the name in capitals, `-` as `_`) and, where a
key is given, a key of the file named by `--config-file`. A flag beside its own variable is refused; a
configuration file takes the place of all other flags and variables, and durations in it are integer
nanoseconds. Status: **yes** is in effect; **no effect** is accepted, and the reason is logged when
it is set; **refused** stops the start unless the value is the default.
";

const COLUMNS: &str = "| Flag | Type | Default | Key in a file | Status | Meaning |
|---|---|---|---|---|---|
";

/// The whole file.
pub fn markdown() -> String {
    let mut text = HEAD.to_owned();
    for (category, flags) in flags::categories() {
        let title = category.title();
        // Writing to a String cannot fail, here and below.
        let _ok = write!(text, "\n## {title}\n\n{COLUMNS}");
        for flag in *flags {
            text.push_str(&row(flag));
        }
    }
    text.push_str("\n## Feature gates\n\n| Gate | Stage | Default | Here |\n|---|---|---|---|\n");
    for info in GATES {
        let (name, stage) = (info.name, info.stage.as_str());
        let here = info.note.map_or_else(|| "yes".to_owned(), |note| format!("no effect: {note}"));
        let _ok = writeln!(text, "| `{name}` | {stage} | {} | {here} |", info.default);
    }
    text
}

fn row(flag: &Flag) -> String {
    let key = flag.yaml.map_or_else(|| "none".to_owned(), |key| format!("`{key}`"));
    let default =
        if flag.default.is_empty() { String::new() } else { format!("`{}`", flag.default) };
    let status = match flag.status {
        Status::Supported => "yes".to_owned(),
        Status::Ignored(reason) => format!("no effect: {reason}"),
        Status::Rejected(reason) => format!("refused: {reason}"),
    };
    format!(
        "| `--{}` | {} | {default} | {key} | {status} | {} |\n",
        flag.name,
        type_name(flag.kind),
        flag.doc
    )
}

fn type_name(kind: Kind) -> String {
    match kind {
        Kind::Bool => "bool".to_owned(),
        Kind::Text => "text".to_owned(),
        Kind::Int => "int".to_owned(),
        Kind::Uint | Kind::Uint32 => "uint".to_owned(),
        Kind::Duration => "duration".to_owned(),
        Kind::Urls | Kind::Origins => "URLs".to_owned(),
        Kind::Words | Kind::Sequence => "list".to_owned(),
        Kind::OneOf(words) => {
            words.iter().filter(|word| !word.is_empty()).copied().collect::<Vec<_>>().join(", ")
        }
        Kind::Gates => "Name=bool list".to_owned(),
    }
}
