//! The `vetch` program: reads its configuration, opens its logs, runs one node.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use tokio::sync::oneshot;
use vetch_server::cli::{self, Program, Signals, StopSignal};
use vetch_server::config::{self, Config, Loaded, LogConfig, LogFormat, LogLevel, LogOutput};
use vetch_server::logging::{self, LineQueue, Logging};
use vetch_server::playground::Playground;

/// glibc's allocator keeps what bursts of large answers left behind; jemalloc gives it back.
#[cfg(target_os = "linux")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let text = |word: std::ffi::OsString| word.to_string_lossy().into_owned();
    let mut arguments: Vec<String> = std::env::args_os().map(text).collect();
    let called_as = if arguments.is_empty() { String::new() } else { arguments.remove(0) };
    match Program::of(&called_as, arguments.first().map(String::as_str)) {
        Program::NotBuilt(reason) => return cli::fail(reason),
        Program::Playground => return play(&arguments[1..]),
        Program::Server => {}
    }
    let variables: Vec<(String, String)> =
        std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect();
    match config::load(&arguments, &variables) {
        Ok(Loaded::Help) => cli::print(&config::help()),
        Ok(Loaded::Version) => cli::print(&cli::version_lines()),
        Ok(Loaded::Run(config)) => serve(*config),
        Err(error) => cli::refuse(&error),
    }
}

/// Runs until a signal or a failure; 0 after an orderly stop, 1 after a failure.
fn serve(config: Config) -> ExitCode {
    logged(&config.log.clone(), |lines| {
        cli::announce(&config);
        async move {
            let stopped = until_stopped(lines)?;
            let ended = Box::pin(vetch_server::node::run(config, tell_systemd, stopped)).await;
            ended.map_err(|error| error.to_string())
        }
    })
}

/// As [`serve`], for several members at once; only what goes wrong is logged.
fn play(arguments: &[String]) -> ExitCode {
    let Some(playground) = Playground::parse(arguments) else {
        return cli::misused(Playground::USAGE);
    };
    let outputs = vec![LogOutput::Stderr];
    let log = LogConfig { level: LogLevel::Error, format: LogFormat::Console, outputs };
    logged(&log, |lines| async move {
        let introduce = |text: &str| {
            cli::print(text);
        };
        let ended = playground.run(introduce, until_stopped(lines)?).await;
        ended.map_err(|error| error.to_string())
    })
}

/// Runs what `work` makes on the core runtime, with logs as `log` says.
fn logged<F>(log: &LogConfig, work: impl FnOnce(LineQueue) -> F) -> ExitCode
where
    F: Future<Output = Result<(), String>>,
{
    let Logging { subscriber, writer } = match logging::start(log) {
        Ok(logging) => logging,
        Err(error) => return cli::fail(&error.to_string()),
    };
    if let Err(error) = tracing::subscriber::set_global_default(subscriber) {
        return cli::fail(&error.to_string());
    }
    cli::abort_after_logging(writer.queue().clone());
    // The core runtime: consensus, apply and the log live on this one thread.
    let runtime = match core_runtime() {
        Ok(runtime) => runtime,
        Err(error) => return cli::fail(&format!("the core runtime: {error}")),
    };
    let outcome = runtime.block_on(work(writer.queue().clone()));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error, "the member has stopped");
            ExitCode::FAILURE
        }
    }
}

/// Threads for blocking work: long reads, flushes, files.
const POOL_THREADS: usize = 32;

/// One thread for everything a put waits for, and a pool for what must not hold it up.
fn core_runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .thread_name("pool")
        .max_blocking_threads(POOL_THREADS)
        .on_thread_start(give_way)
        .build()
}

/// Lets the core and the log go first where there are too few processors for all. Threads of the
/// engine are started from the pool and inherit this.
#[cfg(target_os = "linux")]
fn give_way() {
    const NICE: i32 = 5;
    if let Err(error) = rustix::process::setpriority_process(None, NICE) {
        tracing::debug!(%error, "a pool thread runs with the priority of the core");
    }
}

/// Elsewhere a priority is the whole process's.
#[cfg(not(target_os = "linux"))]
fn give_way() {}

/// Resolves with the first signal; the second ends the process at once.
fn until_stopped(lines: LineQueue) -> Result<oneshot::Receiver<StopSignal>, String> {
    let mut signals = Signals::listen().map_err(|error| format!("signals: {error}"))?;
    let (stop, stopped) = oneshot::channel();
    tokio::spawn(async move {
        let first = signals.next().await;
        tracing::info!(signal = first.name(), "received signal; shutting down");
        let _node_has_stopped = stop.send(first);
        let second = signals.next().await;
        tracing::warn!(signal = second.name(), "received a second signal; stopping at once");
        let _late = lines.flush(std::time::Duration::from_secs(1));
        std::process::exit(second.exit_code().into());
    });
    Ok(stopped)
}

fn tell_systemd() {
    let Some(socket) = std::env::var_os("NOTIFY_SOCKET") else { return };
    if let Err(error) = cli::notify_ready(&socket) {
        tracing::error!(%error, "failed to notify systemd for readiness");
    }
}
