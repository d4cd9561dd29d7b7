//! Everything open, nothing running.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join;
use vetch_proto::etcdserverpb::Member;
use vetch_storage::{Fatal, LogIndex, StateMachine};

use super::directory::{open_machine, read_or_make, refuse_diverged, take_directory};
use super::history::{
    begin_log, begin_log_behind_engine, check_log, drop_contradicted, first_entries,
};
use super::{Bootstrap, Start};
use crate::disk::Disk;
use crate::log::LogStore;
use crate::manifest::{self, Identity, Manifest, StateInUse};
use crate::platform::Platform;
use crate::replica::engines::Home;
use crate::replica::force::force_new_cluster;
use crate::replica::{ApplyObserver, OpenError, Settings, config};

/// What a member runs on.
pub(super) struct Parts<P: Platform> {
    pub(super) settings: Settings,
    pub(super) data_dir: PathBuf,
    pub(super) machine: StateMachine<P::Engine>,
    pub(super) log: LogStore,
    pub(super) disk: Arc<dyn Disk>,
    pub(super) observer: Arc<dyn ApplyObserver<P>>,
    /// As its flags have it, with the id it has.
    pub(super) member: Member,
    /// Members that are known before the log says so.
    pub(super) known: Vec<Member>,
    /// How long it may let nobody lead, for what it promised in its last life.
    pub(super) hold: Duration,
    /// Let go of last: whoever waits for the directory finds everything closed.
    pub(super) home: Home,
}

impl<P: Platform> Parts<P> {
    pub(super) async fn open(platform: &P, start: Start<P>) -> Result<Self, OpenError> {
        let home = open_home(platform, &start).await?;
        let Start { data_dir, settings, member, peers: known, bootstrap, observer, .. } = start;
        let member = Member { id: home.manifest.identity.member.0, ..member };
        let disk = platform.open_disk(&data_dir.join("member/wal")).map_err(Fatal::from)?;
        let log = LogStore::open(Arc::clone(&disk), platform.log_options());
        // Neither needs the other, and both read a lot: a restart takes as long as the slower one.
        let generation = home.manifest.state.generation;
        let machine = open_machine(platform, &data_dir, generation, Arc::clone(&home.lock));
        let (machine, log) = join(machine, log).await;
        let (machine, log) = (machine?, log.map_err(Fatal::from)?);
        let hold = Duration::from_millis(home.manifest.keeps_ms);
        let mut parts =
            Self { settings, data_dir, machine, log, disk, observer, member, known, hold, home };
        parts.meet(platform).await?;
        parts.begin(platform, bootstrap).await?;
        parts.promise().await?;
        Ok(parts)
    }

    /// Holds log and engine against each other: they must meet without a gap.
    async fn meet(&self, platform: &P) -> Result<(), OpenError> {
        let Self { data_dir, log, machine, home: Home { manifest, .. }, .. } = self;
        if machine.members().is_removed(manifest.identity.member) {
            return Err(OpenError::Removed);
        }
        if !check_log(data_dir, log, machine, manifest)? {
            drop_contradicted(log, machine.applied())?;
            begin_log_behind_engine(platform, log, machine).await?;
        }
        Ok(())
    }

    /// Begins a cluster where there is none, or where there shall be another one.
    async fn begin(&mut self, platform: &P, bootstrap: Bootstrap) -> Result<(), OpenError> {
        let Home { disk: home, manifest, .. } = &mut self.home;
        if !manifest.initialized && !manifest.joins {
            begin_log(&self.log, first_entries(&self.member, &self.known)?).await?;
            manifest.initialized = true;
            manifest::store(&**home, manifest).await?;
        }
        let has_state = manifest.initialized || manifest.state.installed > LogIndex(0);
        if manifest.forcing || (has_state && bootstrap == Bootstrap::ForceNew) {
            let random = platform.random();
            force_new_cluster(&**home, manifest, &self.log, &self.machine, random).await?;
        }
        Ok(())
    }

    /// Notes what it will promise, on disk before a leader hears of it.
    async fn promise(&mut self) -> Result<(), OpenError> {
        let Home { disk: home, manifest, .. } = &mut self.home;
        let promise = config::promise_ms(&self.settings);
        if promise > manifest.keeps_ms {
            manifest.keeps_ms = promise;
            manifest::store(&**home, manifest).await?;
        }
        Ok(())
    }
}

/// Takes the directory, and reads whose it is; a fresh one becomes that of the member to be started.
async fn open_home<P: Platform>(platform: &P, start: &Start<P>) -> Result<Home, OpenError> {
    let lock = Arc::new(take_directory(platform, &start.data_dir).await?);
    let disk = platform.open_disk(&start.data_dir).map_err(Fatal::from)?;
    let fresh = || Manifest {
        identity: Identity {
            cluster: start.cluster,
            member: start.settings.id,
            instance: platform.random(),
        },
        engine: platform.engine_name().to_owned(),
        initialized: false,
        joins: start.bootstrap == Bootstrap::Join,
        forcing: false,
        state: StateInUse::default(),
        diverged: None,
        keeps_ms: 0,
    };
    let mut manifest = read_or_make(platform, &*disk, fresh).await?;
    refuse_diverged(&*disk, &mut manifest, &start.data_dir, start.bootstrap).await?;
    Ok(Home { disk, manifest, lock })
}
