//! Whether a log says where the damage is.

use std::path::Path;

/// The part of the member that must be left as it is when `file` is damaged: `member/engine` and the
/// like. The others are whole, and may be opened, and tidied, beside it.
pub(super) fn part(file: &Path) -> &Path {
    let depth = file.components().count();
    file.ancestors().nth(depth.saturating_sub(2)).unwrap_or(file)
}

/// A line that names the file and says where in a file the damage is.
pub(super) fn names_place(log: &str, file: &Path) -> bool {
    log.lines().any(|line| line.contains(" at offset ") && names(line, file))
}

/// A short name such as "7" could be anything: it counts with its folder only.
pub(super) fn names(log: &str, file: &Path) -> bool {
    let name = file.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    let folder = file.parent().and_then(Path::file_name).map(|name| name.to_string_lossy());
    match folder {
        Some(folder) if name.len() < 5 => log.contains(&format!("{folder}/{name}")),
        Some(_) | None => log.contains(&*name),
    }
}

/// Any folder above the file, below the data directory's own `member`.
pub(super) fn names_folder(log: &str, file: &Path) -> bool {
    let is_told =
        |folder: &Path| folder.components().count() > 1 && log.contains(&*folder.to_string_lossy());
    file.ancestors().skip(1).any(is_told)
}

pub(super) fn last_line(log: &str) -> String {
    log.lines().next_back().unwrap_or_default().chars().take(600).collect()
}
