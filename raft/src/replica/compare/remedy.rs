//! What the operator is told to do about members that differ.

use std::fmt::Display;

/// About a member that is known to be wrong, whose data is in `data_dir`.
pub fn replace_it(data_dir: impl Display) -> String {
    format!(
        "remove this member from the cluster, delete {data_dir}, and add it again, under a new id"
    )
}

/// When nobody is known to be right.
pub const FIND_OUT: &str = "find out which member is right, remove each other one from the cluster, \
     delete its data directory, and add it again, under a new id";
