//! Benchmarks: criterion per layer under `benches/`, and the `compare` program, which loads real etcd
//! and Vetch side by side. How to run and read them: `benches/README.md`.
//!
//! The library holds what both use: the keys and values of every load.
#![forbid(unsafe_code)]

pub mod dataset;
pub mod size;
