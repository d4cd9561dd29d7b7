//! The `vetch` program.
#![forbid(unsafe_code)]

fn main() {}
