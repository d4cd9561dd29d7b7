//! Whether the cluster that a fresh directory is to begin has been begun, with this member in it.

use std::convert::Infallible;
use std::time::Duration;

use futures::future::join_all;
use vetch_proto::etcdserverpb::Member;
use vetch_proto::vetchpb::{MembersReply, MembersRequest};
use vetch_raft::transport::grpc::GrpcTransport;
use vetch_storage::NodeId;

use super::StartError;

/// How long a member may take to answer: etcd's own patience. One that is not there is not waited for.
const PATIENCE: Duration = Duration::from_secs(1);

/// Refuses a member that `others` know as started: what it has promised them lay in a directory that
/// is gone, and it must come back as another. Whoever does not answer is not heard, as in etcd: a
/// cluster begins when nobody is there yet.
///
/// Meanwhile `busy` ends the connections of those who ask the same of this member.
pub(super) async fn refuse(
    transport: &GrpcTransport,
    own: NodeId,
    others: &[Member],
    busy: impl Future<Output = Infallible>,
) -> Result<(), StartError> {
    let urls = others.iter().flat_map(|member| &member.peer_ur_ls);
    let request = MembersRequest { at_once: true };
    let asked = join_all(urls.map(|url| transport.ask_members(url, request, PATIENCE)));
    let answers = tokio::select! {
        answers = asked => answers,
        never = busy => match never {},
    };
    for answer in answers {
        match answer {
            Ok(known) if is_started(&known, own) => {
                return Err(StartError::AlreadyBootstrapped(own));
            }
            Ok(_) => {}
            Err(error) => tracing::debug!(error, "a member gave no cluster information"),
        }
    }
    Ok(())
}

/// Who has started has told where clients reach it.
fn is_started(known: &MembersReply, own: NodeId) -> bool {
    known.members.iter().any(|member| member.id == own.get() && !member.client_ur_ls.is_empty())
}
