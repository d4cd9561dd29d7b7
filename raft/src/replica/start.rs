//! From a data directory to a member that serves.
//!
//! - `parts`: everything open, nothing running. `directory`: what is opened. `history`: log and engine held
//!   against each other.
//! - `run`: everything running. `supervise`: until it ends.
//! - `publish`: from an open replica to one that its group knows.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use openraft_rt::AsyncRuntime;
use vetch_proto::etcdserverpb::Member;
use vetch_storage::ClusterId;

use super::service::Service;
use super::{ApplyObserver, OpenError, Replica, Settings};
use crate::platform::Platform;
use crate::transport::Transport;

mod directory;
pub(super) mod history;
mod parts;
mod publish;
mod run;
mod supervise;

use parts::Parts;
use publish::{is_alone, keep_publishing, lead, publish};
use run::run;

/// What a member starts from.
pub struct Start<P: Platform> {
    /// Holds everything the member has; created when it is not there.
    pub data_dir: PathBuf,
    /// How it behaves.
    pub settings: Settings,
    /// The cluster a fresh directory becomes part of; an older one keeps its own.
    pub cluster: ClusterId,
    /// This member's record as its flags have it. The id is the directory's or the settings'; name
    /// and client URLs are published when they differ from what the group knows; peer URLs count
    /// in a fresh directory only.
    pub member: Member,
    /// The other voters of the cluster that a fresh directory begins; none for a group of one. Every
    /// member of it must be given the same ids, peer URLs, and names (or no names but its own): each
    /// writes the same first entries into its own log. With [`Bootstrap::Join`]: members that can be asked, as they are known.
    pub peers: Vec<Member>,
    /// How a fresh directory begins, and what becomes of an old one.
    pub bootstrap: Bootstrap,
    /// Hears what is applied, from the first entry the engine does not have yet.
    pub observer: Arc<dyn ApplyObserver<P>>,
}

/// How a member comes to be in its group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Bootstrap {
    /// A fresh directory begins a cluster, with the others that are named.
    #[default]
    New,
    /// A fresh directory becomes that of a member that was added to a running cluster, under the id it
    /// was added with: its log is empty until the leader fills it.
    Join,
    /// What is in the directory goes on as a cluster of this member alone, under a new cluster id; the
    /// others are removed. A fresh directory begins one.
    ForceNew,
}

impl<P: Platform> fmt::Debug for Start<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Start")
            .field("data_dir", &self.data_dir)
            .field("settings", &self.settings)
            .field("cluster", &self.cluster)
            .field("member", &self.member)
            .field("peers", &self.peers)
            .field("bootstrap", &self.bootstrap)
            .finish_non_exhaustive()
    }
}

/// See [`Replica::open`].
pub(super) async fn open<P: Platform>(
    platform: P,
    start: Start<P>,
) -> Result<Replica<P>, OpenError> {
    // Once in a member's life, and large: kept out of the futures of all who start one.
    let parts = Box::pin(Parts::open(&platform, start)).await?;
    let member = parts.member.clone();
    let replica = Box::pin(run(platform, parts)).await?;
    if is_alone(&replica).await {
        // Peers are heard only when everything is applied: what a lone voter's log says of them holds,
        // and one that was removed must not be listened to once more.
        lead(&replica).await?;
        publish(&replica, &member).await;
        serve_peers(&replica);
    } else {
        serve_peers(&replica);
        drop(P::Runtime::spawn(keep_publishing(replica.clone(), member)));
    }
    Ok(replica)
}

fn serve_peers<P: Platform>(replica: &Replica<P>) {
    let inner = &replica.inner;
    let service = Arc::new(Service(Arc::clone(inner)));
    let serving = inner.platform.transport().serve(inner.identity.member, service);
    if let Some(running) = inner.running.lock().as_mut() {
        running.serving = Some(serving);
    }
}
