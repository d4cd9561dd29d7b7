//! Several nodes that are one cluster.

use std::net::SocketAddr;

use futures::future::join_all;
use tempfile::TempDir;
use vetch_server::config::Config;
use vetch_server::node::{Sockets, StartError};

use crate::member::{Member, config, directory, until, within};

/// Elections so quick that a test hardly waits for one, and so slow that a busy machine brings none about.
pub(crate) const QUICK: [&str; 2] = ["--heartbeat-interval=100", "--election-timeout=1000"];

/// A cluster's members, each started or stopped.
pub(crate) struct Cluster {
    places: Vec<Place>,
    members: Vec<Option<Member>>,
}

/// What a member is started from, again and again.
pub(crate) struct Place {
    pub(crate) dir: TempDir,
    pub(crate) flags: Vec<String>,
    pub(crate) peer: SocketAddr,
    /// The peer URL it is reached at.
    pub(crate) url: String,
}

impl Place {
    pub(crate) fn config(&self) -> Config {
        let flags: Vec<&str> = self.flags.iter().map(String::as_str).collect();
        config(self.dir.path(), &flags)
    }

    /// Starts the member on its own ports.
    pub(crate) async fn start(&self) -> Member {
        self.start_on(Sockets::bind(&self.config().listen).unwrap()).await
    }

    /// As [`start`](Self::start), for one that may refuse to.
    pub(crate) async fn try_start(&self) -> Result<Member, StartError> {
        Member::start_on(Sockets::bind(&self.config().listen)?, self.config()).await
    }

    /// Starts it on sockets that are bound to its ports.
    pub(crate) async fn start_on(&self, sockets: Sockets) -> Member {
        within("the member starts", Member::start_on(sockets, self.config())).await.unwrap()
    }
}

impl Cluster {
    /// `size` members, all of them serving.
    pub(crate) async fn start(size: usize, flags: &[&str]) -> Self {
        let (places, sockets) = Self::prepare(size, flags);
        Self::start_at(places, sockets).await
    }

    /// Members at these places, all of them serving.
    pub(crate) async fn start_at(places: Vec<Place>, sockets: Vec<Sockets>) -> Self {
        let starts = places.iter().zip(sockets);
        let starts = starts.map(|(place, sockets)| Member::start_on(sockets, place.config()));
        let members: Vec<Member> =
            join_all(starts).await.into_iter().map(|member| member.unwrap()).collect();
        for member in &members {
            within("all members serve", member.node.serving()).await;
        }
        Self { places, members: members.into_iter().map(Some).collect() }
    }

    /// Directories and sockets, of members that know of each other.
    pub(crate) fn prepare(size: usize, flags: &[&str]) -> (Vec<Place>, Vec<Sockets>) {
        let flags: Vec<String> = flags.iter().map(|&flag| flag.to_owned()).collect();
        Self::prepare_as(size, "http", |_| flags.clone())
    }

    /// As [`prepare`](Self::prepare), with peer URLs of this scheme, and with flags for each member.
    pub(crate) fn prepare_as(
        size: usize,
        scheme: &str,
        flags: impl Fn(usize) -> Vec<String>,
    ) -> (Vec<Place>, Vec<Sockets>) {
        // The ports are the system's choice; only then can the members be told of them.
        let unused = directory();
        let free = |_| Sockets::bind(&config(unused.path(), &[]).listen).unwrap();
        let sockets: Vec<Sockets> = (0..size).map(free).collect();
        let names = (1..=size).map(|number| format!("m{number}"));
        let all: Vec<String> = names
            .clone()
            .zip(&sockets)
            .map(|(name, sockets)| format!("{name}={scheme}://{}", sockets.peer_addrs()[0]))
            .collect();
        let places = names.zip(&sockets).enumerate().map(|(at, (name, sockets))| {
            let (peer, client) = (sockets.peer_addrs()[0], sockets.client_addrs()[0]);
            let url = format!("{scheme}://{peer}");
            let mut all_flags = flags(at);
            all_flags.extend([
                format!("--name={name}"),
                format!("--initial-cluster={}", all.join(",")),
                format!("--listen-peer-urls={url}"),
                format!("--initial-advertise-peer-urls={url}"),
                format!("--listen-client-urls=http://{client}"),
                format!("--advertise-client-urls=http://{client}"),
            ]);
            Place { dir: directory(), flags: all_flags, peer, url }
        });
        (places.collect(), sockets)
    }

    /// Which member leads, as all that run agree.
    pub(crate) async fn leader(&self) -> usize {
        until("all agree on a leader", || async {
            let leader = self.running().next()?.node.api().replica.status().leader?;
            let agreed = self.running().all(|member| {
                let status = member.node.api().replica.status();
                let leads = member.id() == leader;
                status.leader == Some(leader) && status.is_leader == leads
            });
            let at = |member: &Option<Member>| member.as_ref().is_some_and(|m| m.id() == leader);
            if agreed { self.members.iter().position(at) } else { None }
        })
        .await
    }

    /// Some member that runs and does not lead.
    pub(crate) async fn follower(&self) -> usize {
        let leader = self.leader().await;
        let runs = |at: &usize| *at != leader && self.members[*at].is_some();
        (0..self.members.len()).find(runs).unwrap()
    }

    /// A member that runs.
    pub(crate) fn member(&self, at: usize) -> &Member {
        self.members[at].as_ref().unwrap()
    }

    /// A directory, ports and flags for a member that is still to be added.
    pub(crate) fn newcomer(&mut self, name: &str, flags: &[&str]) -> (usize, Sockets) {
        let flags: Vec<String> = flags.iter().map(|&flag| flag.to_owned()).collect();
        self.newcomer_as(name, "http", flags)
    }

    /// As [`newcomer`](Self::newcomer), with a peer URL of this scheme.
    pub(crate) fn newcomer_as(
        &mut self,
        name: &str,
        scheme: &str,
        mut flags: Vec<String>,
    ) -> (usize, Sockets) {
        let unused = directory();
        let sockets = Sockets::bind(&config(unused.path(), &[]).listen).unwrap();
        let (peer, client) = (sockets.peer_addrs()[0], sockets.client_addrs()[0]);
        let url = format!("{scheme}://{peer}");
        flags.extend([
            format!("--name={name}"),
            "--initial-cluster-state=existing".to_owned(),
            format!("--listen-peer-urls={url}"),
            format!("--initial-advertise-peer-urls={url}"),
            format!("--listen-client-urls=http://{client}"),
            format!("--advertise-client-urls=http://{client}"),
        ]);
        self.places.push(Place { dir: directory(), flags, peer, url });
        self.members.push(None);
        (self.places.len() - 1, sockets)
    }

    /// Starts a newcomer that has been added, and tells it of `others` and itself.
    pub(crate) async fn join(&mut self, at: usize, name: &str, others: &str, sockets: Sockets) {
        let own = format!("{name}={}", self.places[at].url);
        self.places[at].flags.push(format!("--initial-cluster={others},{own}"));
        let member = Member::start_on(sockets, self.places[at].config()).await.unwrap();
        self.members[at] = Some(member);
    }

    /// Those that run.
    pub(crate) fn running(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().flatten()
    }

    pub(crate) fn member_mut(&mut self, at: usize) -> &mut Member {
        self.members[at].as_mut().unwrap()
    }

    pub(crate) fn place(&self, at: usize) -> &Place {
        &self.places[at]
    }

    pub(crate) fn place_mut(&mut self, at: usize) -> &mut Place {
        &mut self.places[at]
    }

    /// Stops one in order.
    pub(crate) async fn stop(&mut self, at: usize) {
        self.members[at].take().unwrap().stop().await;
    }

    /// Starts one that is stopped; it may not serve yet.
    pub(crate) async fn start_again(&mut self, at: usize) {
        self.members[at] = Some(self.places[at].start().await);
    }

    pub(crate) async fn stop_all(self) {
        let members = self.members.into_iter().flatten();
        join_all(members.map(Member::stop)).await;
    }
}
