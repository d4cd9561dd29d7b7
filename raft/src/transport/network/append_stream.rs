//! When a stream of appends ends: with its replies, and when they stay away.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use openraft_rt::{AsyncRuntime, Instant};
use parking_lot::Mutex;
use vetch_proto::vetchpb::{AppendReply, AppendRequest};

use crate::transport::LinkError;

type Requests = BoxStream<'static, AppendRequest>;

/// Lets go of the requests when dropped, at once.
///
/// Whoever carries them would let go of them some time after the replies were dropped. openraft
/// 0.10.0-alpha.37 makes all streams to one peer from one shared place: until then the old stream would
/// take what is meant for the next one, which then takes up what it was told before the old one, perhaps
/// at a position that the log has lost meanwhile.
pub(super) struct Gate(Arc<Mutex<Gated>>);

struct Gated {
    /// `None` once the gate is shut.
    requests: Option<Requests>,
    /// Who carries them, and waits for the next.
    carrier: Option<Waker>,
}

pub(super) fn gated(requests: Requests) -> (Requests, Gate) {
    let shared = Arc::new(Mutex::new(Gated { requests: Some(requests), carrier: None }));
    let gate = Gate(Arc::clone(&shared));
    let poll = move |context: &mut Context<'_>| {
        let Gated { requests, carrier } = &mut *shared.lock();
        let Some(requests) = requests else { return Poll::Ready(None) };
        let next = requests.poll_next_unpin(context);
        *carrier = next.is_pending().then(|| context.waker().clone());
        next
    };
    (stream::poll_fn(poll).boxed(), gate)
}

impl Drop for Gate {
    fn drop(&mut self) {
        let (requests, carrier) = {
            let mut gated = self.0.lock();
            (gated.requests.take(), gated.carrier.take())
        };
        drop(requests);
        // Nothing else would tell it: it would keep the stream, and the peer at its other end, for as long
        // as the connection lasts.
        if let Some(carrier) = carrier {
            carrier.wake();
        }
    }
}

/// Ends the replies when the oldest request has waited too long for its own: a connection that went
/// silent says nothing by itself.
pub(super) fn give_up_when_stalled<R: AsyncRuntime>(
    replies: BoxStream<'static, Result<AppendReply, LinkError>>,
    sent: Arc<Mutex<VecDeque<R::Instant>>>,
    stall: Duration,
) -> BoxStream<'static, Result<AppendReply, LinkError>> {
    let next = move |state: Option<BoxStream<'static, Result<AppendReply, LinkError>>>| {
        let sent = Arc::clone(&sent);
        async move {
            let mut replies = state?;
            loop {
                let deadline = sent.lock().front().copied().unwrap_or_else(R::Instant::now) + stall;
                match R::timeout_at(deadline, replies.next()).await {
                    Ok(Some(reply)) => {
                        sent.lock().pop_front();
                        let rest = reply.is_ok().then_some(replies);
                        return Some((reply, rest));
                    }
                    Ok(None) if sent.lock().is_empty() => return None,
                    // To openraft an end without an error is one where nothing was lost.
                    Ok(None) => {
                        let error = LinkError::Lost("the peer ended the stream".to_owned());
                        return Some((Err(error), None));
                    }
                    Err(_) => {
                        let oldest = sent.lock().front().copied();
                        if oldest.is_some_and(|oldest| oldest + stall <= R::Instant::now()) {
                            let error = LinkError::Lost(format!("no reply within {stall:?}"));
                            return Some((Err(error), None));
                        }
                    }
                }
            }
        }
    };
    stream::unfold(Some(replies), next).boxed()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    /// Who is not told carries an ended stream, and all it holds, for as long as the connection lasts.
    #[test]
    fn who_waits_for_requests_is_told_that_there_are_no_more() {
        let (mut requests, gate) = gated(stream::pending().boxed());
        let woken = Arc::<Woken>::default();
        let waker = Arc::clone(&woken).into();
        let mut context = Context::from_waker(&waker);
        assert_eq!(requests.poll_next_unpin(&mut context), Poll::Pending);
        drop(gate);
        assert!(woken.0.load(Ordering::Relaxed));
        assert_eq!(requests.poll_next_unpin(&mut context), Poll::Ready(None));
    }
}
