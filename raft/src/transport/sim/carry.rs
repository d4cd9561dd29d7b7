//! One direction of a stream of appends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use openraft_rt::{AsyncRuntime, Select2};
use openraft_rt_sim::SimRuntime;
use tokio::sync::mpsc;
use vetch_storage::NodeId;

use super::network::{Fate, SimNetwork};
use crate::transport::LinkError;

/// Messages of one direction of a stream that may be under way at once.
const WINDOW: usize = 64;

/// How long a connection may be silent until it is found dead, as by pings.
const PING: Duration = Duration::from_secs(3);

/// An item of a stream, or its end, and what it meets.
type UnderWay<T> = (Fate, Option<T>);

/// Carries `items` from `from` to `to`, in order, until one is lost, or until pings find out that the
/// `sender`'s machine has died or its way is cut.
pub(super) fn carry<T: Send + 'static>(
    network: &SimNetwork,
    items: BoxStream<'static, T>,
    (from, to): (NodeId, NodeId),
    sender: Arc<AtomicBool>,
) -> BoxStream<'static, Result<T, LinkError>> {
    let (departing, under_way) = mpsc::channel(WINDOW);
    drop(SimRuntime::spawn(depart(network.clone(), items, departing)));
    let arriving = Arriving { under_way, network: network.clone(), from, to, sender };
    stream::unfold(Some(arriving), Arriving::next).boxed()
}

/// Draws what each item will meet when it is sent.
async fn depart<T: Send + 'static>(
    network: SimNetwork,
    mut items: BoxStream<'static, T>,
    departing: mpsc::Sender<UnderWay<T>>,
) {
    loop {
        // A connection that was let go of draws nothing more: what it drew would be missing on the
        // next one.
        let drawn = SimRuntime::select2(Box::pin(departing.closed()), items.next()).await;
        let Select2::Second(item) = drawn else { return };
        let ended = item.is_none();
        if departing.send((network.fate(), item)).await.is_err() || ended {
            return;
        }
    }
}

/// The end at which items arrive.
struct Arriving<T> {
    under_way: mpsc::Receiver<UnderWay<T>>,
    network: SimNetwork,
    from: NodeId,
    to: NodeId,
    /// Whether the sending machine is up.
    sender: Arc<AtomicBool>,
}

impl<T: Send + 'static> Arriving<T> {
    /// One item of the stream; after an error there is none.
    async fn next(this: Option<Self>) -> Option<(Result<T, LinkError>, Option<Self>)> {
        let mut this = this?;
        let received = this.receive().await.transpose()?;
        let goes_on = received.is_ok().then_some(this);
        Some((received, goes_on))
    }

    async fn receive(&mut self) -> Result<Option<T>, LinkError> {
        let Some((fate, item)) = self.wait().await? else { return Ok(None) };
        SimRuntime::sleep_until(fate.arrives).await;
        if self.is_silent() {
            SimRuntime::sleep(PING).await;
            return Err(unanswered());
        }
        if fate.lost { Err(LinkError::Lost("reset".to_owned())) } else { Ok(item) }
    }

    /// Waits for something that is under way, and pings meanwhile.
    async fn wait(&mut self) -> Result<Option<UnderWay<T>>, LinkError> {
        loop {
            match SimRuntime::timeout(PING, self.under_way.recv()).await {
                Ok(received) => return Ok(received),
                Err(_) if self.is_silent() => return Err(unanswered()),
                Err(_) => {}
            }
        }
    }

    fn is_silent(&self) -> bool {
        !self.sender.load(Ordering::Acquire) || self.network.is_cut(self.from, self.to)
    }
}

fn unanswered() -> LinkError {
    LinkError::Lost("pings are not answered".to_owned())
}
