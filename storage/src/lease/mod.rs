//! Leases as replicated facts: which exist, how long they were granted for, which keys hang on them.
//! Deadlines are the leader's business and live in `server`.

use bytes::Bytes;

use crate::types::LeaseId;

/// One lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Its id, never 0.
    pub id: LeaseId,
    /// Seconds it was granted for.
    pub ttl: i64,
    /// Seconds left at the last checkpoint; 0 when none was recorded since the last renewal.
    pub remaining_ttl: i64,
    /// The keys attached to it, in byte order.
    pub keys: imbl::OrdSet<Bytes>,
}

/// All leases, by id. `clone` is O(1) and shares everything.
#[derive(Clone, Debug, Default)]
pub struct LeaseTable {
    leases: imbl::OrdMap<LeaseId, Lease>,
}

impl LeaseTable {
    /// The lease with this id.
    pub fn get(&self, id: LeaseId) -> Option<&Lease> {
        self.leases.get(&id)
    }

    /// All leases by ascending id.
    pub fn iter(&self) -> impl Iterator<Item = &Lease> {
        self.leases.values()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.leases.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.leases.is_empty()
    }

    /// Adds a lease without keys.
    pub(crate) fn grant(&mut self, id: LeaseId, ttl: i64, remaining_ttl: i64) {
        self.leases.insert(id, Lease { id, ttl, remaining_ttl, keys: imbl::OrdSet::new() });
    }

    /// Forgets a lease.
    pub(crate) fn revoke(&mut self, id: LeaseId) {
        self.leases.remove(&id);
    }

    /// Records the remaining time; `None` if there is no such lease.
    pub(crate) fn checkpoint(&mut self, id: LeaseId, remaining_ttl: i64) -> Option<&Lease> {
        let lease = self.leases.get_mut(&id)?;
        lease.remaining_ttl = remaining_ttl;
        Some(lease)
    }

    /// Hangs a key on a lease. A lease that does not exist takes none: an imported key may name one.
    pub(crate) fn attach(&mut self, id: LeaseId, key: &Bytes) {
        if let Some(lease) = self.leases.get_mut(&id) {
            // A copy: the request's buffer, of which `key` is a slice, should not live on with it.
            lease.keys.insert(Bytes::copy_from_slice(key));
        }
    }

    /// Takes a key off a lease.
    pub(crate) fn detach(&mut self, id: LeaseId, key: &Bytes) {
        if let Some(lease) = self.leases.get_mut(&id) {
            lease.keys.remove(key);
        }
    }
}
