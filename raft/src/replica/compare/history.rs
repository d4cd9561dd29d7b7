//! The hash of what is stored, asked of other members and given to them.
//!
//! The running digest tells what a member has made of the log. It does not tell whether that is still on
//! its disk: what was lost there without a trace is in nobody's digest. `HashKV` reads it again.

use std::time::Duration;

use openraft_rt::AsyncRuntime;
use vetch_proto::vetchpb::hash_reply::Outcome;
use vetch_proto::vetchpb::peer_reply::Reply;
use vetch_proto::vetchpb::peer_request::Request;
use vetch_proto::vetchpb::{HashReply, HashRequest, HistoryHash, Refusal};
use vetch_storage::error::ReadError;
use vetch_storage::view::HashKv;
use vetch_storage::{LogIndex, NodeId, Revision};

use crate::platform::Platform;
use crate::replica::Inner;
use crate::replica::service::stopping;

/// How long a member that is behind is given to come to where the others are.
const CATCH_UP: Duration = Duration::from_secs(5);

/// Why a member's history cannot be compared.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoHash {
    /// It does not answer.
    #[error("{0}")]
    Unheard(String),
    /// It cannot tell: it is behind, or has compacted that revision.
    #[error("{0}")]
    Unable(String),
}

impl<P: Platform> Inner<P> {
    /// See [`Replica::hash_of`](crate::Replica::hash_of).
    pub(in crate::replica) async fn hash_of(
        &self,
        member: NodeId,
        revision: Revision,
        applied: LogIndex,
        within: Duration,
    ) -> Result<HashKv, NoHash> {
        let request = HashRequest { revision: revision.0, applied: applied.0 };
        let asked = self.peers.ask(member, Request::Hash(request), within);
        match P::Runtime::timeout(within, Box::pin(asked)).await {
            Ok(Ok(Reply::Hashed(HashReply { outcome: Some(Outcome::Hash(hash)) }))) => {
                Ok(decode(hash))
            }
            Ok(Ok(Reply::Hashed(HashReply { outcome: Some(Outcome::Unable(why)) }))) => {
                Err(NoHash::Unable(why))
            }
            Ok(Ok(_)) => Err(NoHash::Unheard("another answer than was asked for".into())),
            Ok(Err(error)) => Err(NoHash::Unheard(error.to_string())),
            Err(_) => Err(NoHash::Unheard("no answer in time".into())),
        }
    }

    /// Hashes the stored history for a peer, one at a time: a hash reads everything.
    pub(in crate::replica) async fn give_hash(
        &self,
        request: HashRequest,
    ) -> Result<Reply, Refusal> {
        let reply = |outcome| Reply::Hashed(HashReply { outcome: Some(outcome) });
        let applied = LogIndex(request.applied);
        let there = P::Runtime::timeout(CATCH_UP, Box::pin(self.progress.wait(applied))).await;
        match there {
            Ok(Ok(())) => {}
            Ok(Err(_closed)) => return Err(stopping()),
            Err(_) => {
                return Ok(reply(Outcome::Unable(format!("it has not applied {applied} yet"))));
            }
        }
        let _turn = self.hashing.lock().await;
        let (view, revision) = (self.views.latest(), Revision(request.revision));
        match self.platform.blocking(move || view.hash_kv(revision)).await {
            Ok(hash) => Ok(reply(Outcome::Hash(encode(hash)))),
            Err(ReadError::Refused(why)) => Ok(reply(Outcome::Unable(why.to_string()))),
            Err(ReadError::Fatal(fatal)) => {
                self.stop.raise(fatal);
                Err(stopping())
            }
        }
    }
}

fn encode(HashKv { hash, compact_revision, hash_revision }: HashKv) -> HistoryHash {
    HistoryHash { hash, compact_revision, revision: hash_revision.0 }
}

fn decode(HistoryHash { hash, compact_revision, revision }: HistoryHash) -> HashKv {
    HashKv { hash, compact_revision, hash_revision: Revision(revision) }
}
