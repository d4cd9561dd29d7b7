//! In what order a node ends.

use std::time::Duration;

use vetch_raft::Platform;

use super::Node;

/// How long requests under way may take to finish, as in etcd.
const DRAIN: Duration = Duration::from_secs(7);

impl<P: Platform> Node<P> {
    /// Stops: no new connection or request, streams end, what is under way finishes; then the log is
    /// closed with everything acknowledged in it.
    pub async fn shutdown(self) {
        self.stop.cancel();
        self.connections.close();
        if tokio::time::timeout(DRAIN, self.connections.wait()).await.is_err() {
            tracing::warn!(
                connections = self.connections.len(),
                "cut connections that did not end"
            );
        }
        for task in &self.background {
            task.abort();
        }
        self.replica.shutdown().await;
    }
}
