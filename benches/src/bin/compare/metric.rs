//! Every row of the table: what it is called, how rounds become one figure, what must hold.

use serde::Serialize;

/// What a row says about Vetch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Must {
    /// Shown for information.
    None,
    /// Vetch's figure is at most this many times etcd's.
    AtMostTimes(f64),
    /// Vetch's figure is at least this many times etcd's.
    AtLeastTimes(f64),
    /// Vetch's figure itself is at most this.
    AtMost(f64),
}

/// How the figures of all rounds become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fold {
    Median,
    /// The median, and the ratio is that of the medians: for what chance decides anew in each round.
    Middle,
    /// The highest: for what must never be exceeded.
    Highest,
}

/// A row's constant part.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spec {
    pub(crate) title: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) fold: Fold,
    pub(crate) must: Must,
    /// About the big store: its must is not judged in a quick run.
    pub(crate) big: bool,
}

macro_rules! metrics {
    ($($name:ident: $title:literal, $unit:literal, $fold:ident, $must:expr, $big:literal;)+) => {
        /// A row of the table, in its order.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
        #[serde(rename_all = "snake_case")]
        pub(crate) enum Metric { $($name,)+ }

        impl Metric {
            pub(crate) fn spec(self) -> Spec {
                match self {
                    $(Self::$name => Spec {
                        title: $title, unit: $unit, fold: Fold::$fold, must: $must, big: $big,
                    },)+
                }
            }
        }
    };
}

use Must::{AtLeastTimes, AtMost, AtMostTimes, None as Nothing};

metrics! {
    Put1P50: "put 256 B, 1 client, p50", "µs", Median, AtMostTimes(0.85), false;
    Put1P99: "put 256 B, 1 client, p99", "µs", Median, Nothing, false;
    Put256Rate: "put 256 B, 256 clients", "/s", Median, AtLeastTimes(1.5), false;
    Put256Cpu: "put 256 B, 256 clients, CPU per put", "µs", Median, AtMostTimes(0.6), false;
    Put256P99: "put 256 B, 256 clients, p99", "µs", Median, Nothing, false;
    TxnRate: "txn update 1 KiB, 64 clients", "/s", Median, Nothing, false;
    TxnCpu: "txn update 1 KiB, 64 clients, CPU per txn", "µs", Median, Nothing, false;
    GetRate: "linearizable get, 64 clients", "/s", Median, AtLeastTimes(1.3), false;
    GetCpu: "linearizable get, 64 clients, CPU per get", "µs", Median, Nothing, false;
    KeepaliveRate: "lease keepalive, 64 clients", "/s", Median, Nothing, false;
    KeepaliveCpu: "lease keepalive, 64 clients, CPU per keepalive", "µs", Median, Nothing, false;
    WatchRate: "1,000 watchers of one key, events", "/s", Median, AtLeastTimes(1.0), false;
    WatchCpu: "1,000 watchers, CPU per event delivered", "µs", Median, AtMostTimes(0.7), false;
    WatchBusyPut: "1,000 watchers, put p50 in the same closed loop", "µs", Median, Nothing, false;
    WatchLast: "1,000 watchers, last event after the put, p50", "µs", Median, Nothing, false;
    WatchPut: "1,000 watchers, put p50 at 50 puts/s", "µs", Median, Nothing, false;
    WatchPutAlone: "the same put p50 without watchers", "µs", Median, Nothing, false;
    LeaseLast: "10,000 leases due at once, last one gone after", "s", Highest, AtMost(1.5), false;
    PageSmall: "page of 500 of 1 k keys, p50", "µs", Median, Nothing, false;
    PageBig: "page of 500 of 1 M keys, p50", "µs", Median, AtMostTimes(0.02), true;
    PageGrowth: "page of 500, 1 M over 1 k keys", "×", Median, AtMost(1.5), true;
    CountSmall: "count_only of 1 k keys, p50", "µs", Median, Nothing, false;
    CountBig: "count_only of 1 M keys, p50", "µs", Median, AtMostTimes(0.02), true;
    CountGrowth: "count_only, 1 M over 1 k keys", "×", Median, AtMost(1.5), true;
    ThreePut1P50: "3 nodes: put 256 B, 1 client, p50", "µs", Median, AtMostTimes(0.8), false;
    ThreePut1P99: "3 nodes: put 256 B, 1 client, p99", "µs", Median, Nothing, false;
    ThreePut1Cpu: "3 nodes: put 256 B, 1 client, CPU of all members per put", "µs", Median, Nothing, false;
    ThreePut64Rate: "3 nodes: put 256 B, 64 clients", "/s", Median, AtLeastTimes(1.5), false;
    ThreePut64Cpu: "3 nodes: put 256 B, 64 clients, CPU of all members per put", "µs", Median, AtMostTimes(0.6), false;
    ThreePut64P99: "3 nodes: put 256 B, 64 clients, p99", "µs", Median, Nothing, false;
    ThreeGetRate: "3 nodes: linearizable get, 64 clients", "/s", Median, AtLeastTimes(1.3), false;
    ThreeGetCpu: "3 nodes: linearizable get, 64 clients, CPU of all members per get", "µs", Median, Nothing, false;
    ThreeGetSpreadRate: "3 nodes: the same, spread over all members", "/s", Median, Nothing, false;
    ThreeKillGap: "3 nodes: leader killed, longest put gap", "ms", Middle, AtMostTimes(1.0), false;
    ThreeStopGap: "3 nodes: leader stopped by SIGTERM, longest put gap", "ms", Highest, AtMost(100.0), false;
    ThreeJoinTime: "3 nodes: 1 GiB to a new member takes", "s", Median, Nothing, true;
    ThreeJoinBefore: "3 nodes: put p99 before", "µs", Median, Nothing, true;
    ThreeJoinDuring: "3 nodes: put p99 meanwhile", "µs", Median, Nothing, true;
    ThreeJoinRise: "3 nodes: put p99 meanwhile over before", "×", Median, AtMost(2.0), true;
    FillTime: "time to fill 1 M keys × 256 B", "s", Median, Nothing, true;
    RssRest: "RSS with 1 M keys, at rest", "MB", Highest, AtMostTimes(0.5), true;
    RssCompaction: "RSS with 1 M keys, highest around compaction", "MB", Highest, AtMostTimes(0.5), true;
    RssAny: "RSS with 1 M keys, highest at any time but the list", "MB", Highest, AtMostTimes(0.5), true;
    RssList: "RSS with 1 M keys, highest in the unlimited list", "MB", Highest, AtMostTimes(0.5), true;
    DiskFilled: "disk with 1 M keys", "MB", Highest, Nothing, true;
    DiskCompacted: "disk after overwriting a third and compaction", "MB", Highest, Nothing, true;
    Restart: "restart with 1 M keys to first linearizable read", "s", Highest, AtMost(1.0), true;
    RestartKilled: "the same after kill -9", "s", Highest, AtMost(1.0), true;
    GapNone: "longest put gap, nothing else going on", "ms", Highest, Nothing, true;
    GapDefragment: "longest put gap, Defragment", "ms", Highest, AtMost(30.0), true;
    GapSnapshot: "longest put gap, Snapshot", "ms", Highest, AtMost(30.0), true;
    GapList: "longest put gap, unlimited list of 1 M keys", "ms", Highest, AtMost(30.0), true;
    GapCompaction: "longest put gap, compaction", "ms", Highest, Nothing, true;
    DefragmentTime: "Defragment takes", "s", Median, Nothing, true;
    SnapshotTime: "Snapshot takes", "s", Median, Nothing, true;
    ListTime: "unlimited list of 1 M keys takes", "s", Median, Nothing, true;
    CompactionTime: "physical compaction takes", "s", Median, Nothing, true;
}
