//! 1,000 watchers of one key: 10 connections with one stream each, 100 watchers per stream.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use hdrhistogram::Histogram;
use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::Streaming;
use vetch_benches::dataset::{Values, key};
use vetch_proto::etcdserverpb::kv_client::KvClient;
use vetch_proto::etcdserverpb::watch_request::RequestUnion;
use vetch_proto::etcdserverpb::{PutRequest, WatchCreateRequest, WatchRequest, WatchResponse};

use super::put::VALUE;
use crate::bench::Bench;
use crate::connection::Connection;
use crate::load::{Load, as_f64, closed_loop, histogram, microseconds, nanoseconds};
use crate::metric::Metric;
use crate::procfs;
use crate::server::Server;

const STREAMS: usize = 10;
const WATCHERS_PER_STREAM: usize = 100;
const WATCHERS: u64 = 1_000;
/// Between paced puts.
const PACE: Duration = Duration::from_millis(20);
/// How long the last event of a round may take.
const PATIENCE: Duration = Duration::from_mins(1);

pub(crate) async fn one_key(bench: &mut Bench) -> Result<()> {
    let mut servers = bench.start().await?;
    for server in &mut servers {
        let warm_up = saturate(server, bench.args.warm_up()).await;
        warm_up.map_err(|error| server.explain(error))?;
    }
    for _ in 0..bench.args.rounds() {
        for server in &mut servers {
            let result = round(bench, server).await;
            result.map_err(|error| server.explain(error))?;
        }
    }
    Ok(())
}

async fn round(bench: &mut Bench, server: &Server) -> Result<()> {
    let alone = paced(server, None, bench.args.round()).await?;
    bench.record(Metric::WatchPutAlone, server, microseconds(&alone.put, 0.5));
    let watchers = Watchers::open(server).await?;
    let watched = paced(server, Some(&watchers), bench.args.round()).await?;
    drop(watchers);
    bench.record(Metric::WatchPut, server, microseconds(&watched.put, 0.5));
    bench.record(Metric::WatchLast, server, microseconds(&watched.last_event, 0.5));
    let saturated = saturate(server, bench.args.round()).await?;
    bench.record(Metric::WatchRate, server, saturated.events_per_second);
    bench.record(Metric::WatchCpu, server, saturated.cpu_per_event);
    bench.record(Metric::WatchBusyPut, server, saturated.puts.latency(0.5));
    Ok(())
}

/// All watchers; their streams are read by tasks that end with this.
struct Watchers {
    delivered: Rc<Delivered>,
    readers: Vec<tokio::task::JoinHandle<()>>,
    /// Held open: a stream whose requests end is over.
    _requests: Vec<tokio::sync::mpsc::UnboundedSender<WatchRequest>>,
}

#[derive(Default)]
struct Delivered {
    events: Cell<u64>,
    last: Cell<Option<Instant>>,
    failure: RefCell<Option<anyhow::Error>>,
    changed: Notify,
}

impl Watchers {
    async fn open(server: &Server) -> Result<Self> {
        let delivered = Rc::new(Delivered::default());
        let (mut readers, mut requests) = (Vec::new(), Vec::new());
        for _ in 0..STREAMS {
            let connection = Connection::open(server.address()).await?;
            let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
            for _ in 0..WATCHERS_PER_STREAM {
                let create = WatchCreateRequest { key: key(0), ..WatchCreateRequest::default() };
                let request_union = Some(RequestUnion::CreateRequest(create));
                sender.send(WatchRequest { request_union })?;
            }
            let receiver = UnboundedReceiverStream::new(receiver);
            let mut answers = connection.watch().watch(receiver).await?.into_inner();
            for _ in 0..WATCHERS_PER_STREAM {
                let answer = answers.message().await?.context("the stream ended")?;
                ensure!(answer.created && !answer.canceled, "not created: {answer:?}");
            }
            let delivered = Rc::clone(&delivered);
            readers.push(tokio::task::spawn_local(async move {
                if let Err(error) = count(answers, &delivered).await {
                    delivered.failure.replace(Some(error));
                    delivered.changed.notify_one();
                }
            }));
            requests.push(sender);
        }
        Ok(Self { delivered, readers, _requests: requests })
    }

    /// Waits until `events` have arrived in all; returns when the last of them did.
    async fn wait(&self, events: u64) -> Result<Instant> {
        let arrive = async {
            while self.delivered.events.get() < events {
                if let Some(error) = self.delivered.failure.take() {
                    return Err(error);
                }
                self.delivered.changed.notified().await;
            }
            self.delivered.last.get().context("no event yet")
        };
        let arrived = self.delivered.events.get();
        let last = timeout(PATIENCE, arrive)
            .await
            .with_context(|| format!("{events} events awaited, {arrived} arrived"))??;
        let arrived = self.delivered.events.get();
        ensure!(arrived == events, "{arrived} events for {events}");
        Ok(last)
    }
}

impl Drop for Watchers {
    fn drop(&mut self) {
        for reader in &self.readers {
            reader.abort();
        }
    }
}

async fn count(mut answers: Streaming<WatchResponse>, delivered: &Delivered) -> Result<()> {
    while let Some(answer) = answers.message().await? {
        ensure!(!answer.canceled, "canceled: {}", answer.cancel_reason);
        let events = delivered.events.get() + answer.events.len() as u64;
        delivered.events.set(events);
        if events.is_multiple_of(WATCHERS) {
            delivered.last.set(Some(Instant::now()));
            delivered.changed.notify_one();
        }
    }
    bail!("the stream ended")
}

async fn put(client: &mut KvClient<Connection>, values: &Values, number: u64) -> Result<()> {
    let put = PutRequest { key: key(0), value: values.get(number), ..PutRequest::default() };
    client.put(put).await?;
    Ok(())
}

struct Paced {
    put: Histogram<u64>,
    last_event: Histogram<u64>,
}

/// Puts at a fixed pace, each one fully delivered before the next.
async fn paced(server: &Server, watchers: Option<&Watchers>, duration: Duration) -> Result<Paced> {
    let mut client = Connection::open(server.address()).await?.kv();
    let values = Values::new(VALUE);
    put(&mut client, &values, 0).await?;
    if let Some(watchers) = watchers {
        watchers.wait(WATCHERS).await?;
    }
    let mut figures = Paced { put: histogram()?, last_event: histogram()? };
    let mut ticks = interval(PACE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let start = Instant::now();
    let mut puts = 1;
    while start.elapsed() < duration {
        ticks.tick().await;
        puts += 1;
        let sent = Instant::now();
        let acknowledged = async {
            put(&mut client, &values, puts).await?;
            anyhow::Ok(sent.elapsed())
        };
        let delivered = async {
            match watchers {
                Some(watchers) => Ok(Some(watchers.wait(puts * WATCHERS).await? - sent)),
                None => Ok(None),
            }
        };
        let (latency, last) = tokio::try_join!(acknowledged, delivered)?;
        figures.put.saturating_record(nanoseconds(latency));
        if let Some(last) = last {
            figures.last_event.saturating_record(nanoseconds(last));
        }
    }
    Ok(figures)
}

struct Saturated {
    events_per_second: f64,
    /// Microseconds of the server's CPU time, the put's own share included.
    cpu_per_event: f64,
    puts: Load,
}

/// One client puts in a closed loop that waits for the acknowledgement only; time and CPU count until
/// the last event has arrived.
async fn saturate(server: &Server, duration: Duration) -> Result<Saturated> {
    let watchers = Watchers::open(server).await?;
    let client = Connection::open(server.address()).await?.kv();
    let values = Values::new(VALUE);
    let cpu = procfs::cpu(&[server.pid()?])?;
    let start = Instant::now();
    let puts =
        closed_loop(&[server.pid()?], vec![(client, 0)], duration, async move |(client, n)| {
            *n += 1;
            put(client, &values, *n).await
        })
        .await?;
    let events = puts.operations * WATCHERS;
    let elapsed = watchers.wait(events).await? - start;
    let cpu = procfs::cpu(&[server.pid()?])?.saturating_sub(cpu);
    Ok(Saturated {
        events_per_second: as_f64(events) / elapsed.as_secs_f64(),
        cpu_per_event: cpu.as_secs_f64() * 1e6 / as_f64(events),
        puts,
    })
}
