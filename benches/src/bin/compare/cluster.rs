//! Members that form one cluster, each a process of its own: one, or several.

use std::net::SocketAddr;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use tokio::time::{Duration, sleep};
use vetch_proto::etcdserverpb::{
    MemberAddRequest, MemberRemoveRequest, StatusRequest, StatusResponse,
};

use crate::args::Side;
use crate::connection::Connection;
use crate::procfs::cpu;
use crate::server::{Program, Server, read};

/// A cluster of a program. Dropping it kills all members and removes their data.
#[derive(Debug)]
pub(crate) struct Cluster {
    members: Vec<Server>,
    /// Which of them leads, as far as known.
    leader: usize,
}

impl Cluster {
    const ELECTION: Duration = Duration::from_mins(1);
    /// To come to rest.
    const REST: Duration = Duration::from_mins(3);

    /// Starts `size` members on empty data folders; returns once all serve and agree on a leader.
    pub(crate) async fn start(program: &Program, size: usize) -> Result<Self> {
        let names = (1..=size).map(|number| format!("m{number}"));
        let members = names.map(|name| Server::new(program, &name)).collect::<Result<Vec<_>>>()?;
        let mut cluster = Self { members, leader: 0 };
        let initial = cluster.initial();
        for member in &mut cluster.members {
            member.in_cluster(initial.clone(), false);
            member.spawn()?;
        }
        let started = Instant::now();
        for member in &mut cluster.members {
            while let Err(error) = read(member.address()).await {
                member.wait_a_little(started, error).await?;
            }
        }
        cluster.find_leader().await?;
        Ok(cluster)
    }

    fn initial(&self) -> String {
        self.members.iter().map(Server::as_initial).collect::<Vec<_>>().join(",")
    }

    pub(crate) fn side(&self) -> Side {
        self.leader().side()
    }

    pub(crate) fn leader(&self) -> &Server {
        &self.members[self.leader]
    }

    pub(crate) fn leader_mut(&mut self) -> &mut Server {
        &mut self.members[self.leader]
    }

    /// Where clients of all members connect to.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.members.iter().map(Server::address).collect()
    }

    /// Where clients of all members but the leader connect to.
    pub(crate) fn followers(&self) -> Vec<SocketAddr> {
        let all = self.members.iter().enumerate();
        all.filter(|(n, _)| *n != self.leader).map(|(_, member)| member.address()).collect()
    }

    /// All processes: what an operation costs is what all members spend on it.
    pub(crate) fn pids(&self) -> Result<Vec<u32>> {
        self.members.iter().map(Server::pid).collect()
    }

    /// Waits until all members agree on a leader.
    pub(crate) async fn find_leader(&mut self) -> Result<()> {
        let deadline = Instant::now() + Self::ELECTION;
        loop {
            if let Ok(Some(leader)) = self.agreed_leader().await {
                self.leader = leader;
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "the members do not agree on a leader");
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until the members have done what filling them left to do in the background, compaction of
    /// their stores above all: until all of them together hardly use the processor.
    pub(crate) async fn come_to_rest(&self) -> Result<()> {
        const LOOK: Duration = Duration::from_secs(1);
        const SHARE: f64 = 0.15;
        let (pids, deadline) = (self.pids()?, Instant::now() + Self::REST);
        loop {
            let before = cpu(&pids)?;
            sleep(LOOK).await;
            let used = cpu(&pids)?.saturating_sub(before);
            if used < LOOK.mul_f64(SHARE) {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "the members are still busy: {used:?} in {LOOK:?}");
        }
    }

    /// Fails if leadership has moved since [`Self::find_leader`].
    pub(crate) async fn ensure_same_leader(&self) -> Result<()> {
        let now = self.agreed_leader().await?;
        ensure!(
            now == Some(self.leader),
            "leadership moved while it was measured: load the machine less"
        );
        Ok(())
    }

    async fn agreed_leader(&self) -> Result<Option<usize>> {
        let (mut own, mut believed) = (Vec::new(), Vec::new());
        for member in &self.members {
            let status = status(member.address()).await?;
            own.push(status.header.context("no header")?.member_id);
            believed.push(status.leader);
        }
        let agreed = believed.iter().all(|leader| *leader == believed[0]);
        Ok(own.iter().position(|member| agreed && *member == believed[0]))
    }

    /// Adds a learner and starts it; does not wait for it. Gives its member id with it.
    pub(crate) async fn add_learner(&self, program: &Program) -> Result<(Server, u64)> {
        let mut learner = Server::new(program, "learner")?;
        let request = MemberAddRequest { peer_ur_ls: vec![learner.peer_url()], is_learner: true };
        let mut client = Connection::open(self.leader().address()).await?.cluster();
        let added = client.member_add(request).await?.into_inner().member.context("no member")?;
        learner.in_cluster(format!("{},{}", self.initial(), learner.as_initial()), true);
        learner.spawn()?;
        Ok((learner, added.id))
    }

    pub(crate) async fn remove(&self, id: u64) -> Result<()> {
        let mut client = Connection::open(self.leader().address()).await?.cluster();
        client.member_remove(MemberRemoveRequest { id }).await?;
        Ok(())
    }

    /// What went wrong, with what a member that has ended had to say.
    pub(crate) fn explain(&mut self, error: anyhow::Error) -> anyhow::Error {
        let error = error.context(self.side().name());
        let epitaphs = self.members.iter_mut().filter_map(Server::epitaph);
        epitaphs.fold(error, anyhow::Error::context)
    }
}

/// What one member says of itself.
pub(crate) async fn status(member: SocketAddr) -> Result<StatusResponse> {
    let mut client = Connection::open(member).await?.maintenance();
    Ok(client.status(StatusRequest {}).await?.into_inner())
}
