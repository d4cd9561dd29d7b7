//! vetch-raft
