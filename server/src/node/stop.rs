//! In what order a node ends.

use std::time::Duration;

use vetch_raft::Platform;

use super::Node;

/// How long requests under way may take to finish. etcd waits seven seconds, for open watches too,
/// and then cuts them all; here streams without an end of their own end at once, so only what would
/// end by itself is waited for.
const DRAIN: Duration = Duration::from_millis(1500);

impl<P: Platform> Node<P> {
    /// Stops: no new connection or request, open streams end, what is under way may finish within a
    /// moment; then the log is closed with everything acknowledged in it.
    pub async fn shutdown(self) {
        // First, while clients are still served: nobody has to wait for an election.
        self.replica.resign().await;
        self.ending.drain.cancel();
        self.connections.close();
        if tokio::time::timeout(DRAIN, self.connections.wait()).await.is_err() {
            tracing::warn!(
                connections = self.connections.len(),
                "cutting connections that did not end"
            );
            self.ending.cut.cancel();
            self.connections.wait().await;
        }
        self.background.abort();
        self.replica.shutdown().await;
        self.background.ended().await;
        self.peer_ending.drain.cancel();
        self.peer_ending.cut.cancel();
        self.peer_connections.close();
        self.peer_connections.wait().await;
    }

    /// Ends after [`failed`](Self::failed) where the log is sound and only the answers are wrong: nobody
    /// is answered any more, and the cluster need not wait to find out that this member is gone.
    pub async fn quarantine(self) {
        self.ending.drain.cancel();
        self.ending.cut.cancel();
        self.background.abort();
        self.replica.shutdown().await;
        self.peer_ending.drain.cancel();
        self.peer_ending.cut.cancel();
    }

    /// Ends without order, after [`failed`](Self::failed): nobody is answered any more, for nothing
    /// this node says can be trusted, and nothing more is written. What the replica holds is given
    /// back when the process ends.
    pub fn abandon(self) {
        for ending in [&self.ending, &self.peer_ending] {
            ending.drain.cancel();
            ending.cut.cancel();
        }
        self.background.abort();
    }
}
