//! Damaged files: found at the start, named, and left as they are.

use std::path::{Path, PathBuf};

use crate::process::{Process, put};

/// Puts until the log holds some records, then stops without order, so that all of it is needed.
async fn written(dir: &Path) -> PathBuf {
    let (mut process, addr) = Process::serving(dir, &[]).await;
    for number in 0..5 {
        put(addr, &format!("key number {number}"), "value").await;
    }
    process.kill().await;
    let wal = dir.join("member").join("wal");
    let mut segments: Vec<PathBuf> =
        std::fs::read_dir(wal).unwrap().map(|entry| entry.unwrap().path()).collect();
    segments.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
    assert_eq!(segments.len(), 1, "{segments:?}");
    segments.remove(0)
}

fn position(bytes: &[u8], text: &str) -> usize {
    bytes.windows(text.len()).position(|window| window == text.as_bytes()).unwrap()
}

#[tokio::test]
async fn a_flipped_bit_in_the_middle_of_the_log_is_named_by_file_and_offset_and_nothing_is_touched()
{
    let dir = tempfile::tempdir().unwrap();
    let segment = written(dir.path()).await;
    let mut bytes = std::fs::read(&segment).unwrap();
    let (before, at) = (position(&bytes, "key number 1"), position(&bytes, "key number 2"));
    bytes[at] ^= 0x10;
    std::fs::write(&segment, &bytes).unwrap();
    let mut process = Process::start(dir.path(), &[]);
    let line = process.line("the member has stopped").await;
    assert_eq!(process.ended().await.code(), Some(1));
    assert_eq!(line["level"], "error");
    let error = line["error"].as_str().unwrap();
    assert!(error.contains(&segment.display().to_string()), "the file: {error}");
    assert!(error.contains("restore"), "the remedy: {error}");
    let numbers = error.split(|c: char| !c.is_ascii_digit()).filter_map(|word| word.parse().ok());
    let offsets: Vec<usize> = numbers.filter(|number| (before..=at).contains(number)).collect();
    assert!(!offsets.is_empty(), "an offset between {before} and {at}: {error}");
    assert!(std::fs::read(&segment).unwrap() == bytes, "the file is as it was");
}

#[tokio::test]
async fn a_log_that_is_gone_is_not_begun_anew() {
    let dir = tempfile::tempdir().unwrap();
    let segment = written(dir.path()).await;
    std::fs::remove_file(&segment).unwrap();
    for attempt in ["the first", "the second"] {
        let mut process = Process::start(dir.path(), &[]);
        let line = process.line("the member has stopped").await;
        assert_eq!(process.ended().await.code(), Some(1));
        let error = line["error"].as_str().unwrap();
        let named = error.contains("its log ends at") && error.contains("restore");
        assert!(named, "{attempt} attempt: {error}");
    }
}
