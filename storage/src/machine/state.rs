//! The replicated state in memory.

use std::sync::Arc;

use bytes::Bytes;

use crate::alarm::Alarms;
use crate::member::Members;
use crate::mvcc::write::Keyspace;
use crate::types::{LogId, Revision};

/// Everything replicated. Owned and changed by the state machine only; views hold parts of it, each
/// cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct State {
    pub(crate) applied: LogId,
    pub(crate) keyspace: Keyspace,
    pub(crate) alarms: Alarms,
    pub(crate) members: Members,
    pub(crate) cluster_version: Option<Arc<str>>,
    pub(crate) membership: Option<(LogId, Bytes)>,
    /// As of the last commit.
    pub(crate) digest: u64,
}

impl Default for State {
    fn default() -> Self {
        Self {
            applied: LogId::default(),
            keyspace: Keyspace { revision: Revision::EMPTY_STORE, ..Keyspace::default() },
            alarms: Alarms::default(),
            members: Members::default(),
            cluster_version: None,
            membership: None,
            digest: 0,
        }
    }
}
