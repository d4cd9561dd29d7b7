//! How large a benchmark's store is.

/// `full` keys under `cargo bench`; a hundredth of them, but no fewer than 1,000, when the benchmark only
/// has to show that it runs: `cargo test --benches`.
pub fn keys(full: u64) -> u64 {
    // Cargo tells the two apart by this argument alone.
    if std::env::args().any(|argument| argument == "--bench") {
        full
    } else {
        (full / 100).max(full.min(1_000))
    }
}
