//! What every row needs: the settings, the two programs and the report.

use std::time::Duration;

use anyhow::Result;

use crate::args::Args;
use crate::cluster::Cluster;
use crate::load::Load;
use crate::metric::Metric;
use crate::report::Report;
use crate::server::{Program, Server};

/// A figure of a closed loop: the row and how it is taken.
pub(crate) type Figure = (Metric, fn(&Load) -> f64);

/// A run.
#[derive(Debug)]
pub(crate) struct Bench {
    pub(crate) args: Args,
    pub(crate) programs: Vec<Program>,
    pub(crate) report: Report,
}

impl Bench {
    /// One fresh server per side, all started, none loaded.
    pub(crate) async fn start(&self) -> Result<Vec<Server>> {
        let mut servers = Vec::new();
        for program in &self.programs {
            servers.push(Server::start(program).await?);
        }
        Ok(servers)
    }

    /// A figure of a server.
    pub(crate) fn record(&mut self, metric: Metric, server: &Server, figure: f64) {
        self.report.record(metric, server.side(), figure);
    }

    /// One fresh cluster of `size` members per side, all started, none loaded.
    pub(crate) async fn start_clusters(&self, size: usize) -> Result<Vec<Cluster>> {
        let mut clusters = Vec::new();
        for program in &self.programs {
            clusters.push(Cluster::start(program, size).await?);
        }
        Ok(clusters)
    }

    /// A row of closed loops on fresh clusters of `size` members: prepares and warms up each, then
    /// measures in turns. A round in which leadership moved fails the row.
    pub(crate) async fn closed_loops(
        &mut self,
        size: usize,
        prepare: impl AsyncFn(&Cluster) -> Result<()>,
        load: impl AsyncFn(&Cluster, Duration) -> Result<Load>,
        figures: &[Figure],
    ) -> Result<()> {
        let mut clusters = self.start_clusters(size).await?;
        for cluster in &mut clusters {
            let prepared = async {
                prepare(cluster).await?;
                load(cluster, self.args.warm_up()).await
            };
            prepared.await.map_err(|error| cluster.explain(error))?;
        }
        for _ in 0..self.args.rounds() {
            for cluster in &mut clusters {
                let round = async {
                    cluster.find_leader().await?;
                    let load = load(cluster, self.args.round()).await?;
                    cluster.ensure_same_leader().await?;
                    anyhow::Ok(load)
                };
                let load = round.await.map_err(|error| cluster.explain(error))?;
                for (metric, figure) in figures {
                    self.report.record(*metric, cluster.side(), figure(&load));
                }
            }
        }
        Ok(())
    }
}
