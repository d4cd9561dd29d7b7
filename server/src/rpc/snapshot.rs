//! Maintenance.Snapshot: the state as a database file that etcd's tools read.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Instant;

use futures::stream;
use http::Response;
use http_body::Frame;
use http_body_util::StreamBody;
use tonic::Status;
use vetch_proto::etcdserverpb::SnapshotResponse;
use vetch_raft::Platform;

use super::api::Api;
use super::body::{AnswerBody, framed, ok_trailers, refuse, respond, status_trailers};
use super::status::Refusal;
use crate::metrics::Metrics;
use crate::snapshot_file::buckets::BucketError;
use crate::snapshot_file::{SnapshotFile, export};
use crate::version::STORAGE_VERSION;

/// Maintenance.Snapshot, as the response to send. The file is written first, of one view, while
/// writes go on; then it is sent as fast as the client takes it.
pub async fn snapshot<P: Platform>(api: &Arc<Api<P>>) -> Response<AnswerBody> {
    let began = Instant::now();
    let (view, spool_dir) = (api.replica.view(), api.spool_dir.clone());
    let exported = tokio::task::spawn_blocking(move || export(&view, &spool_dir)).await;
    match exported {
        Ok(Ok(file)) => {
            let duration = api.metrics.disk.snapshot.clone();
            respond(StreamBody::new(messages(file, move || {
                duration.observe(Metrics::seconds(began.elapsed()));
            })))
        }
        Ok(Err(BucketError::Fatal(fatal))) => refuse(api.stop(fatal)),
        Ok(Err(BucketError::Spool(error))) => refuse(spool_failed(&error)),
        Err(_cancelled_at_shutdown) => refuse(Refusal::Stopped),
    }
}

/// A spool file is no part of the state: that it cannot be written fails the snapshot only.
fn spool_failed(error: &std::io::Error) -> Status {
    tracing::error!(%error, "cannot spool a snapshot; check the free space of the data directory");
    Status::unknown(format!("vetch: cannot spool the snapshot: {error}"))
}

/// The file as messages; `sent` is called when the client has taken all of it.
fn messages(
    file: SnapshotFile,
    sent: impl FnOnce() + Send,
) -> impl futures::Stream<Item = Result<Frame<bytes::Bytes>, Infallible>> + Send {
    stream::unfold(Some((file, sent)), |state| async {
        let (mut file, sent) = state?;
        let read = tokio::task::spawn_blocking(move || {
            let blob = file.next_blob();
            (file, blob)
        });
        let failed = match read.await {
            Ok((file, Ok(Some(blob)))) => {
                let message = SnapshotResponse {
                    header: None,
                    remaining_bytes: file.remaining(),
                    blob,
                    version: STORAGE_VERSION.to_owned(),
                };
                return Some((Ok(Frame::data(framed(&message))), Some((file, sent))));
            }
            Ok((_, Ok(None))) => {
                sent();
                return Some((Ok(Frame::trailers(ok_trailers())), None));
            }
            Ok((_, Err(error))) => spool_failed(&error),
            Err(_cancelled_at_shutdown) => Refusal::Stopped.into(),
        };
        Some((Ok(Frame::trailers(status_trailers(&failed))), None))
    })
}
