//! Compaction, and the search for damage.

use std::time::Duration;

use super::{duration, invalid};
use crate::config::error::ConfigError;
use crate::config::gates::Gate;
use crate::config::settings::Settings;
use crate::config::types::{AutoCompaction, Compaction, Corruption};
use crate::config::value::{Value, parse_duration};

pub(super) fn compaction(settings: &Settings) -> Result<Compaction, ConfigError> {
    let mode = settings.text("auto-compaction-mode");
    let retention = settings.text("auto-compaction-retention");
    let batch_limit = settings.int("compaction-batch-limit");
    let auto = auto_compaction(&mode, &retention).map_err(|cause| {
        ConfigError::Invalid(format!("error parsing CompactionRetention: {cause}"))
    })?;
    // etcd's flag default is 0, which stands for 1000 there too; for the pause 0 stands for 10 ms.
    let batch_limit = usize::try_from(batch_limit).ok().filter(|limit| *limit > 0).unwrap_or(1000);
    let sleep_interval = duration(settings, "compaction-sleep-interval")?;
    let sleep_interval =
        if sleep_interval.is_zero() { Duration::from_millis(10) } else { sleep_interval };
    Ok(Compaction { auto, batch_limit, sleep_interval })
}

fn auto_compaction(mode: &str, retention: &str) -> Result<AutoCompaction, String> {
    let number = retention.parse::<i64>().ok().filter(|number| *number >= 0);
    match (mode, number) {
        (_, Some(0)) => Ok(AutoCompaction::Off),
        ("revision", Some(revisions)) => Ok(AutoCompaction::Revisions(revisions)),
        (_, Some(hours)) => u64::try_from(hours)
            .ok()
            .and_then(|hours| hours.checked_mul(3600))
            .map(|seconds| AutoCompaction::Periodic(Duration::from_secs(seconds)))
            .ok_or_else(|| format!("time: invalid duration {retention:?}")),
        ("revision", None) => {
            let nanos = parse_duration(retention)?;
            Err(format!("mode 'revision' takes a number of revisions, not a time ({nanos}ns)"))
        }
        (_, None) => match u64::try_from(parse_duration(retention)?) {
            Ok(0) => Ok(AutoCompaction::Off),
            Ok(nanos) => Ok(AutoCompaction::Periodic(Duration::from_nanos(nanos))),
            Err(_negative) => Err(format!("{retention:?} is negative")),
        },
    }
}

pub(super) fn corruption(settings: &Settings) -> Result<Corruption, ConfigError> {
    const COMPACTIONS: &str = "compact-hash-check-time";
    let gates = settings.gates("feature-gates");
    let every = duration(settings, "corrupt-check-time")?;
    let nanos = u64::try_from(settings.nanos(COMPACTIONS)).unwrap_or(0);
    if nanos == 0 {
        let given = settings.all_given().find(|given| given.flag.name == COMPACTIONS);
        let given = given.filter(|given| given.value != Value::Duration(0));
        let text = given.map_or("0s", |given| &given.text);
        return invalid(format!("--{COMPACTIONS} must be >0 (set to {text})"));
    }
    let compactions = gates.enabled(Gate::CompactHashCheck);
    Ok(Corruption {
        every: Some(every).filter(|every| !every.is_zero()),
        compactions_every: compactions.then(|| Duration::from_nanos(nanos)),
        initially: gates.enabled(Gate::InitialCorruptCheck),
    })
}
