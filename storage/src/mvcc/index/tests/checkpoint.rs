//! The checkpoint file: whole, damaged at every byte, cut at every length.

use std::fs;

use bytes::Bytes;
use proptest::prelude::*;

use super::{Model, build, check, entries, entry, keys};
use crate::error::Fatal;
use crate::mvcc::index::Index;
use crate::mvcc::index::checkpoint::{Header, read, write};
use crate::types::{LogIndex, Revision};

const HEADER: Header = Header {
    revision: Revision(77),
    compact_revision: Some(Revision(5)),
    applied: LogIndex(1 << 40),
};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn gives_back_what_was_written(model in proptest::collection::btree_map(keys(), entries(), 0..900)) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("index");
        let length = write(&path, &HEADER, &build(&model)).unwrap();
        prop_assert_eq!(length, fs::metadata(&path).unwrap().len());
        let (header, index) = read(&path).unwrap().unwrap();
        prop_assert_eq!(header, HEADER);
        check(&index, &model);
    }
}

fn small() -> (tempfile::TempDir, std::path::PathBuf, Vec<u8>) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("index");
    let model: Model = (0..40).map(|n| (Bytes::from(format!("key-{n:03}")), entry(n))).collect();
    write(&path, &Header { compact_revision: None, ..HEADER }, &build(&model)).unwrap();
    let bytes = fs::read(&path).unwrap();
    (dir, path, bytes)
}

fn is_corrupt_in(path: &std::path::Path) -> bool {
    match read(path) {
        Err(Fatal::Corrupt { location, .. }) => {
            location.starts_with(&format!("{} at offset ", path.display()))
        }
        Err(Fatal::Io { .. }) | Ok(_) => false,
    }
}

#[test]
fn no_file_is_no_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    assert!(read(&dir.path().join("index")).unwrap().is_none());
}

#[test]
fn an_empty_index_has_a_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("index");
    write(&path, &HEADER, &Index::new()).unwrap();
    assert!(read(&path).unwrap().unwrap().1.is_empty());
}

#[test]
fn any_flipped_bit_is_noticed() {
    let (_dir, path, bytes) = small();
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1 << (at % 8);
        fs::write(&path, damaged).unwrap();
        assert!(is_corrupt_in(&path), "byte {at}");
    }
}

#[test]
fn any_truncation_is_noticed() {
    let (_dir, path, bytes) = small();
    for length in 0..bytes.len() {
        fs::write(&path, &bytes[..length]).unwrap();
        assert!(is_corrupt_in(&path), "length {length}");
    }
    fs::write(&path, [bytes.as_slice(), b"\0"].concat()).unwrap();
    assert!(is_corrupt_in(&path), "a byte too many");
}

#[test]
fn a_new_checkpoint_replaces_the_old_and_leaves_no_other_file() {
    let (dir, path, _) = small();
    fs::write(dir.path().join("index.new"), b"left by a crash").unwrap();
    let model: Model = [(Bytes::from("a"), entry(2))].into();
    write(&path, &HEADER, &build(&model)).unwrap();
    let (header, index) = read(&path).unwrap().unwrap();
    assert_eq!(header, HEADER);
    check(&index, &model);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn a_million_keys_would_take_less_than_20_mb() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("index");
    let mut index = Index::new();
    let mut n = 1_u64;
    for revision in 2..20_002 {
        n = n.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(1);
        let key = format!("/registry/pods/namespace-{:03}/pod-{:016x}", n % 50, n >> 40);
        index.insert(&Bytes::from(key), entry(revision));
    }
    let length = write(&path, &HEADER, &index).unwrap();
    assert!(length < 20_000 * 20, "{length} bytes for {} keys", index.len());
}
