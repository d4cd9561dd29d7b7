//! `process_*`, `os_fd_*` and the allocator, read when somebody looks.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeGaugeValue};
use prometheus_client::metrics::MetricType;

#[derive(Debug)]
pub(super) struct Process {
    ticks_per_second: f64,
    page_bytes: f64,
}

/// What `/proc` says; a file that cannot be read leaves out its metrics.
#[derive(Debug, Default)]
struct Reading {
    cpu_seconds: Option<f64>,
    start_seconds: Option<f64>,
    virtual_bytes: Option<f64>,
    resident_bytes: Option<f64>,
    max_virtual_bytes: Option<f64>,
    open_fds: Option<f64>,
    max_fds: Option<f64>,
    received_bytes: Option<f64>,
    sent_bytes: Option<f64>,
}

impl Process {
    pub(super) fn new() -> Self {
        #[expect(clippy::cast_precision_loss, reason = "both are small numbers")]
        Self {
            ticks_per_second: rustix::param::clock_ticks_per_second() as f64,
            page_bytes: rustix::param::page_size() as f64,
        }
    }

    fn read(&self) -> Reading {
        let mut reading = Reading::default();
        self.read_stat(&mut reading);
        read_limits(&mut reading);
        read_network(&mut reading);
        #[expect(clippy::cast_precision_loss, reason = "a number of files")]
        let fds = std::fs::read_dir("/proc/self/fd").ok().map(|fds| fds.count() as f64);
        // One of them is the folder that was just read.
        reading.open_fds = fds.map(|fds| fds - 1.0);
        reading
    }

    /// proc(5): fields are counted from 1, and the second may contain spaces within parentheses.
    fn read_stat(&self, reading: &mut Reading) {
        let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let Some((_, rest)) = text.rsplit_once(')') else { return };
        let fields: Vec<f64> =
            rest.split_whitespace().map(|field| field.parse().unwrap_or(f64::NAN)).collect();
        let field = |number: usize| fields.get(number - 3).copied().filter(|n| !n.is_nan());
        reading.cpu_seconds =
            field(14).zip(field(15)).map(|(user, system)| (user + system) / self.ticks_per_second);
        reading.virtual_bytes = field(23);
        reading.resident_bytes = field(24).map(|pages| pages * self.page_bytes);
        let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
        let boot = stat.lines().find_map(|line| line.strip_prefix("btime "));
        let boot = boot.and_then(|seconds| seconds.parse::<f64>().ok());
        reading.start_seconds =
            field(22).zip(boot).map(|(ticks, boot)| boot + ticks / self.ticks_per_second);
    }
}

fn read_limits(reading: &mut Reading) {
    let text = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let soft = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        match line.split_whitespace().next()? {
            // As Go's client library: the largest 64-bit number.
            "unlimited" => Some(18_446_744_073_709_551_615.0),
            number => number.parse().ok(),
        }
    };
    reading.max_fds = soft("Max open files");
    reading.max_virtual_bytes = soft("Max address space");
}

/// Of the network namespace, as etcd's.
fn read_network(reading: &mut Reading) {
    let Ok(text) = std::fs::read_to_string("/proc/self/net/dev") else { return };
    let (mut received, mut sent) = (0.0, 0.0);
    for line in text.lines().skip(2) {
        let Some((_, counters)) = line.split_once(':') else { continue };
        let counters: Vec<f64> =
            counters.split_whitespace().filter_map(|counter| counter.parse().ok()).collect();
        received += counters.first().unwrap_or(&0.0);
        sent += counters.get(8).unwrap_or(&0.0);
    }
    reading.received_bytes = Some(received);
    reading.sent_bytes = Some(sent);
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        let reading = self.read();
        let gauge = MetricType::Gauge;
        let counter = MetricType::Counter;
        let rows = [
            ("os_fd_limit", "Limit of open files", gauge, reading.max_fds),
            ("os_fd_used", "Open files", gauge, reading.open_fds),
            ("process_cpu_seconds_total", "CPU time", counter, reading.cpu_seconds),
            ("process_max_fds", "Limit of open files", gauge, reading.max_fds),
            (
                "process_network_receive_bytes_total",
                "Bytes received",
                counter,
                reading.received_bytes,
            ),
            ("process_network_transmit_bytes_total", "Bytes sent", counter, reading.sent_bytes),
            ("process_open_fds", "Open files", gauge, reading.open_fds),
            ("process_resident_memory_bytes", "Resident memory", gauge, reading.resident_bytes),
            ("process_start_time_seconds", "Unix time of the start", gauge, reading.start_seconds),
            ("process_virtual_memory_bytes", "Virtual memory", gauge, reading.virtual_bytes),
            (
                "process_virtual_memory_max_bytes",
                "Limit of virtual memory",
                gauge,
                reading.max_virtual_bytes,
            ),
        ];
        for (name, help, kind, value) in rows {
            if let Some(value) = value {
                sample(&mut encoder, name, help, kind, &value)?;
            }
        }
        allocator(&mut encoder)
    }
}

fn sample(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    kind: MetricType,
    value: &impl EncodeGaugeValue,
) -> std::fmt::Result {
    encoder.encode_descriptor(name, help, None, kind)?.encode_gauge(value)
}

/// jemalloc's figures; a build without it reports none.
#[cfg(target_os = "linux")]
fn allocator(encoder: &mut DescriptorEncoder<'_>) -> std::fmt::Result {
    use tikv_jemalloc_ctl::{epoch, stats};
    if epoch::advance().is_err() {
        return Ok(());
    }
    let rows = [
        ("vetch_jemalloc_allocated_bytes", "Bytes in use by the program", stats::allocated::read()),
        ("vetch_jemalloc_active_bytes", "Bytes in pages in use", stats::active::read()),
        (
            "vetch_jemalloc_resident_bytes",
            "Bytes resident in the allocator",
            stats::resident::read(),
        ),
        ("vetch_jemalloc_mapped_bytes", "Bytes mapped by the allocator", stats::mapped::read()),
        ("vetch_jemalloc_retained_bytes", "Bytes kept unmapped", stats::retained::read()),
    ];
    for (name, help, value) in rows {
        if let Ok(value) = value {
            sample(encoder, name, help, MetricType::Gauge, &value)?;
        }
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn allocator(_encoder: &mut DescriptorEncoder<'_>) -> std::fmt::Result {
    Ok(())
}
