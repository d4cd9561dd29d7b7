//! What every row needs: the settings, the two programs and the report.

use std::time::Duration;

use anyhow::Result;

use crate::args::Args;
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

    pub(crate) fn record(&mut self, metric: Metric, server: &Server, figure: f64) {
        self.report.record(metric, server.side(), figure);
    }

    /// A row of closed loops on fresh servers: prepares and warms up each, then measures in turns.
    pub(crate) async fn closed_loops(
        &mut self,
        prepare: impl AsyncFn(&Server) -> Result<()>,
        load: impl AsyncFn(&Server, Duration) -> Result<Load>,
        figures: &[Figure],
    ) -> Result<()> {
        let mut servers = self.start().await?;
        for server in &mut servers {
            let prepared = async {
                prepare(server).await?;
                load(server, self.args.warm_up()).await
            };
            prepared.await.map_err(|error| server.explain(error))?;
        }
        for _ in 0..self.args.rounds() {
            for server in &mut servers {
                let result = load(server, self.args.round()).await;
                let load = result.map_err(|error| server.explain(error))?;
                for (metric, figure) in figures {
                    self.record(*metric, server, figure(&load));
                }
            }
        }
        Ok(())
    }
}
