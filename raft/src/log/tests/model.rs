//! Random histories and random bytes.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;

use super::harness::{Model, Recorder, Workload, entry, open};
use crate::disk::sim::SimDisk;
use crate::log::{codec, record};

/// How a log is left and found again.
#[derive(Clone, Copy, Debug)]
enum Reopen {
    /// Everything was flushed.
    Clean,
    /// The process was killed.
    Kill,
    /// The power went out.
    PowerCut(u64),
}

fn reopenings() -> impl Strategy<Value = Vec<(u64, u64, Reopen)>> {
    let reopen = prop_oneof![
        Just(Reopen::Clean),
        Just(Reopen::Kill),
        any::<u64>().prop_map(Reopen::PowerCut),
    ];
    vec((any::<u64>(), 0_u64..30, reopen), 1..8)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_log_is_its_model_through_any_reopenings(rounds in reopenings()) {
        let mut disk = SimDisk::manual(3);
        let mut found = Model::default();
        for (seed, calls, reopen) in rounds {
            let store = open(&disk).unwrap().unwrap();
            prop_assert_eq!(&Model::of(&store), &found);
            let mut recorder = Recorder::new(disk.clone(), store, found);
            let mut workload = Workload::new(seed);
            for _ in 0..calls {
                let changes = workload.next(recorder.now());
                recorder.submit(changes).unwrap();
                // Readable at once, whether the device has come to it or not.
                prop_assert_eq!(&Model::of(&recorder.store), recorder.now());
                if workload.below(3) == 0 {
                    recorder.run();
                    prop_assert_eq!(&Model::of(&recorder.store), recorder.now());
                }
            }
            if matches!(reopen, Reopen::Clean) {
                recorder.run();
            }
            disk = match reopen {
                Reopen::Clean | Reopen::Kill => disk.process_killed(),
                Reopen::PowerCut(seed) => disk.power_cut(seed),
            };
            let recovered = open(&disk.copy()).unwrap().unwrap();
            found = recorder.check(&recovered);
            if matches!(reopen, Reopen::Clean) {
                prop_assert_eq!(&found, recorder.now());
            }
        }
    }

    #[test]
    fn any_bytes_are_a_record_or_are_not(bytes in vec(any::<u8>(), 0..300), offset in 0_usize..300) {
        // What counts is that it answers at all: random bytes pass two CRCs practically never.
        prop_assert!(record::record_at(&bytes, offset, 1).is_err());
    }

    #[test]
    fn a_changed_record_is_not_a_record(
        len in 0_usize..200,
        at in any::<proptest::sample::Index>(),
        mask in 1_u8..,
    ) {
        let mut bytes = Vec::new();
        let original = entry(3, 5, len);
        record::encode(&mut bytes, record::Kind::Entry, 9, 128, |out| codec::encode_entry(&original, out));
        let (header, payload) = record::record_at(&bytes, 0, 9).unwrap();
        prop_assert_eq!((header.total(), header.durable), (bytes.len(), 128));
        prop_assert_eq!(codec::decode_entry(&Bytes::copy_from_slice(payload)), Some(original));
        let at = at.index(bytes.len());
        bytes[at] ^= mask;
        prop_assert!(record::record_at(&bytes, 0, 9).is_err());
    }

    #[test]
    fn decoders_answer_any_bytes(bytes in vec(any::<u8>(), 0..120)) {
        let bytes = Bytes::from(bytes);
        if let Some(entry) = codec::decode_entry(&bytes) {
            let mut out = Vec::new();
            codec::encode_entry(&entry, &mut out);
            prop_assert_eq!(codec::decode_entry(&out.into()), Some(entry));
        }
        let _ = codec::decode_vote(&bytes);
        let _ = codec::decode_position(&bytes);
    }
}
