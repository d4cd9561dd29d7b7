//! The wire, on loopback.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::future;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use vetch_proto::vetchpb::peer_reply::Reply;
use vetch_proto::vetchpb::{Hello, Matched, ReadIndexReply, append_reply};

use super::*;
use crate::transport::observer::Way;

/// Answers with what it was asked, or never.
struct Echo {
    answers: bool,
}

impl PeerService for Echo {
    fn call(&self, request: PeerRequest) -> BoxFuture<'static, PeerReply> {
        let reply = Some(Reply::ReadIndex(ReadIndexReply { index: 7 }));
        let instance = request.hello.map_or(0, |hello| hello.instance);
        let reply = PeerReply { instance, reply };
        if self.answers { future::ready(reply).boxed() } else { future::pending().boxed() }
    }

    fn append(
        &self,
        requests: BoxStream<'static, AppendRequest>,
    ) -> BoxStream<'static, AppendReply> {
        let outcome = Some(append_reply::Outcome::Matched(Matched { upto: None }));
        let reply = move |(at, _)| AppendReply {
            instance: at,
            outcome: outcome.clone(),
            ..AppendReply::default()
        };
        stream::iter(0..).zip(requests).map(reply).boxed()
    }
}

/// Serves `transport` on a port of its own; counts the connections.
async fn listen(transport: &GrpcTransport) -> (SocketAddr, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (transport, accepted) = (transport.clone(), Arc::new(AtomicU64::new(0)));
    let count = Arc::clone(&accepted);
    drop(TokioRuntime::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::Relaxed);
            let service = TowerToHyperService::new(transport.service());
            drop(TokioRuntime::spawn(async move {
                let server = auto::Builder::new(TokioExecutor::new()).http2_only();
                drop(server.serve_connection(TokioIo::new(socket), service).await);
            }));
        }
    }));
    (address, accepted)
}

fn at(address: SocketAddr) -> Addresses {
    Arc::new(move |_| vec![format!("http://{address}")])
}

fn on_tokio<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test)
}

#[test]
fn calls_and_streams_arrive_in_order_on_connections_of_their_own() {
    on_tokio(async {
        let (server, client) = (GrpcTransport::new(), GrpcTransport::new());
        let _serving = server.serve(NodeId(2), Arc::new(Echo { answers: true }));
        let (address, accepted) = listen(&server).await;
        let control = client.link(NodeId(2), Channel::Control, &at(address));
        for _ in 0..10 {
            let reply = control.call(PeerRequest::default(), DIAL).await.unwrap();
            assert_eq!(reply.reply, Some(Reply::ReadIndex(ReadIndexReply { index: 7 })));
        }
        let append = client.link(NodeId(2), Channel::Append, &at(address));
        let requests = stream::iter(0..1_000).map(|_| AppendRequest::default()).boxed();
        let replies: Vec<_> = append.append(requests).try_collect().await.unwrap();
        let order: Vec<u64> = replies.iter().map(|reply| reply.instance).collect();
        assert_eq!(order, (0..1_000).collect::<Vec<_>>());
        assert_eq!(accepted.load(Ordering::Relaxed), 2, "one connection per channel");
    });
}

const DIAL: Duration = Duration::from_secs(5);

/// Whether a message may have arrived decides whether a proposal may be tried again.
#[test]
fn what_was_never_sent_is_told_from_what_was_never_answered() {
    on_tokio(async {
        let client = GrpcTransport::new();
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let link = client.link(NodeId(2), Channel::Forward, &at(closed));
        let refused = link.call(PeerRequest::default(), DIAL).await;
        assert!(matches!(refused, Err(LinkError::Unreachable(_))), "{refused:?}");

        let nowhere: Addresses = Arc::new(|_| Vec::new());
        let link = client.link(NodeId(3), Channel::Forward, &nowhere);
        let refused = link.call(PeerRequest::default(), DIAL).await;
        assert!(matches!(refused, Err(LinkError::Unreachable(_))), "{refused:?}");

        let server = GrpcTransport::new();
        let (address, _) = listen(&server).await;
        let link = client.link(NodeId(4), Channel::Forward, &at(address));
        let stopped = link.call(PeerRequest::default(), DIAL).await;
        assert!(matches!(stopped, Err(LinkError::Unreachable(_))), "{stopped:?}");

        let serving = server.serve(NodeId(4), Arc::new(Echo { answers: false }));
        let silent = link.call(PeerRequest::default(), Duration::from_millis(50)).await;
        assert!(matches!(silent, Err(LinkError::Lost(_))), "{silent:?}");
        drop(serving);
        let stopped = link.call(PeerRequest::default(), DIAL).await;
        assert!(matches!(stopped, Err(LinkError::Unreachable(_))), "{stopped:?}");
    });
}

/// Counts what it hears, peer by peer, and how often it is asked for a peer.
#[derive(Clone, Debug, Default)]
struct Counts(Arc<Mutex<BTreeMap<NodeId, Arc<Heard>>>>);

#[derive(Debug, Default)]
struct Heard {
    asked_for: AtomicU64,
    sent: AtomicU64,
    received: AtomicU64,
}

impl PeerObserver for Counts {
    fn of(&self, peer: NodeId) -> Arc<dyn PeerTraffic> {
        let mut peers = self.0.lock();
        let heard = peers.entry(peer).or_default();
        heard.asked_for.fetch_add(1, Ordering::Relaxed);
        Arc::<Heard>::clone(heard)
    }
}

impl PeerTraffic for Heard {
    fn sent(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }
    fn received(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Ordering::Relaxed);
    }
    fn send_failed(&self) {}
    fn receive_failed(&self) {}
    fn round_trip(&self, _: Duration) {}
    fn reached(&self, _: bool) {}
    fn state_begun(&self, _: Way) {}
    fn state_ended(&self, _: Way, _: Option<Duration>) {}
}

impl Counts {
    /// How often it was asked for the peer, and the bytes sent to and received from it.
    fn of_peer(&self, peer: u64) -> [u64; 3] {
        let heard = Arc::clone(&self.0.lock()[&NodeId(peer)]);
        let counts = [&heard.asked_for, &heard.sent, &heard.received];
        counts.map(|count| count.load(Ordering::Relaxed))
    }
}

/// A name that anybody may give makes no new series, and counts for no neighbour.
#[test]
fn what_a_peer_says_is_counted_on_the_handle_of_its_connection_and_a_strangers_words_are_not() {
    on_tokio(async {
        let counts = Counts::default();
        let server = GrpcTransport::dialling(Arc::new(PlainDial), Arc::new(counts.clone()));
        let _serving = server.serve(NodeId(2), Arc::new(Echo { answers: true }));
        let (address, _) = listen(&server).await;
        let nowhere: Addresses = Arc::new(|_| Vec::new());
        for channel in [Channel::Forward, Channel::Control] {
            let _known = server.link(NodeId(5), channel, &nowhere);
            let _again = server.link(NodeId(5), channel, &nowhere);
        }
        let client = GrpcTransport::new();
        let control = client.link(NodeId(2), Channel::Control, &at(address));
        let append = client.link(NodeId(2), Channel::Append, &at(address));
        let (mut sent, mut received) = (0, 0);
        for (from, is_known) in [(4, false), (5, true), (6, false)] {
            let hello = Some(Hello { from, ..Hello::default() });
            let request = PeerRequest { hello, request: None };
            let reply = control.call(request.clone(), DIAL).await.unwrap();
            let first = AppendRequest { hello, ..AppendRequest::default() };
            let entries = vec![b"an entry".as_slice().into()];
            let next = AppendRequest { entries, ..AppendRequest::default() };
            let lengths = request.encoded_len() + first.encoded_len() + next.encoded_len();
            let replies = append.append(stream::iter([first, next]).boxed());
            let replies: Vec<_> = replies.try_collect().await.unwrap();
            if is_known {
                received += lengths;
                sent += reply.encoded_len();
                sent += replies.iter().map(Message::encoded_len).sum::<usize>();
            }
        }
        assert_eq!(counts.of_peer(5), [2, sent as u64, received as u64]);
        assert_eq!(counts.0.lock().len(), 1, "nobody else is counted");
    });
}
