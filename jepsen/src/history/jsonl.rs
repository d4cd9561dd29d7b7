//! JSON lines: one record per line, so that `grep` and `jq` work on a failing history.

use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::Path;

/// Writes one line per record, replacing the file.
pub fn write_lines<T: Serialize>(
    path: &Path,
    records: impl IntoIterator<Item = T>,
) -> io::Result<()> {
    let mut out = BufWriter::new(File::create(path)?);
    for record in records {
        serde_json::to_writer(&mut out, &record)?;
        out.write_all(b"\n")?;
    }
    out.flush()
}

/// Reads back what [`write_lines`] wrote; an error names the file and the line.
pub fn read_lines<T: DeserializeOwned>(path: &Path) -> io::Result<Vec<T>> {
    let at = |line: usize, error: &dyn std::fmt::Display| {
        io::Error::other(format!("{}:{line}: {error}", path.display()))
    };
    let file = File::open(path).map_err(|error| at(0, &error))?;
    BufReader::new(file)
        .lines()
        .enumerate()
        .map(|(index, line)| {
            let line = line.map_err(|error| at(index + 1, &error))?;
            serde_json::from_str(&line).map_err(|error| at(index + 1, &error))
        })
        .collect()
}
