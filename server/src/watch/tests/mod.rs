//! Watch as a client sees it, on a simulated machine: the real replica, hub, outboxes, catch-up and
//! bodies, with a client that reads when it is told to.
//!
//! - `member`: the node's part. `client`: a stream and what came over it.
//! - `history`: what happened, kept by the obvious model; the specification is a filter over it.
//! - `record`: what was asked and heard, told apart by watcher. `plan`: random interleavings. `checks`, `guarantees`: etcd's nine, each by its name.
//! - `planted`: that each check finds what it is for.
//! - `requests`, `slow_clients`: single cases. `installed`: on a member that is given a whole state.

mod checks;
mod client;
mod guarantees;
mod history;
mod installed;
mod member;
mod plan;
mod planted;
mod record;
mod requests;
mod slow_clients;
