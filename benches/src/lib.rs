//! vetch-benches
