//! Feature gates: named switches with a stage of maturity.

use std::fmt;

/// How far a feature has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Off unless asked for.
    Alpha,
    /// On unless refused.
    Beta,
}

impl Stage {
    /// As in `etcd_server_feature_enabled`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Alpha => "ALPHA",
            Self::Beta => "BETA",
        }
    }
}

/// A gate of etcd 3.7.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Gate {
    /// All alpha gates.
    AllAlpha,
    /// All beta gates.
    AllBeta,
    /// Compare compaction hashes with followers.
    CompactHashCheck,
    /// Renew known leases without waiting for the applied index.
    FastLeaseKeepAlive,
    /// Compare hashes with peers before serving.
    InitialCorruptCheck,
    /// Replicate remaining TTLs.
    LeaseCheckpoint,
    /// Persist remaining TTLs.
    LeaseCheckpointPersist,
    /// Revokes get a larger share under load.
    PriorityRequest,
    /// Dial peers from the advertised address.
    SetMemberLocalAddr,
    /// Report `NOT_SERVING` during a defragmentation.
    StopGRPCServiceOnDefrag,
    /// Cheaper compare phase of write transactions.
    TxnModeWriteWithSharedBuffer,
}

/// What is known of a gate.
#[derive(Clone, Copy, Debug)]
pub struct GateInfo {
    /// Which.
    pub gate: Gate,
    /// As written in `--feature-gates`.
    pub name: &'static str,
    /// Maturity.
    pub stage: Stage,
    /// Unless written otherwise.
    pub default: bool,
    /// Why switching it changes nothing here, if so.
    pub note: Option<&'static str>,
}

const fn gate(
    gate: Gate,
    name: &'static str,
    stage: Stage,
    default: bool,
    note: &'static str,
) -> GateInfo {
    GateInfo { gate, name, stage, default, note: Some(note) }
}

/// One that does what it says, and is off unless asked for.
const fn alpha(gate: Gate, name: &'static str) -> GateInfo {
    GateInfo { gate, name, stage: Stage::Alpha, default: false, note: None }
}

const CHECKPOINTS: &str = "remaining TTLs are always replicated and kept";

/// Every gate, by name.
pub const GATES: [GateInfo; 11] = [
    alpha(Gate::AllAlpha, "AllAlpha"),
    gate(Gate::AllBeta, "AllBeta", Stage::Beta, false, "no beta gate changes anything here"),
    alpha(Gate::CompactHashCheck, "CompactHashCheck"),
    gate(
        Gate::FastLeaseKeepAlive,
        "FastLeaseKeepAlive",
        Stage::Beta,
        true,
        "a known lease is always renewed at once",
    ),
    alpha(Gate::InitialCorruptCheck, "InitialCorruptCheck"),
    gate(Gate::LeaseCheckpoint, "LeaseCheckpoint", Stage::Alpha, false, CHECKPOINTS),
    gate(Gate::LeaseCheckpointPersist, "LeaseCheckpointPersist", Stage::Alpha, false, CHECKPOINTS),
    gate(
        Gate::PriorityRequest,
        "PriorityRequest",
        Stage::Alpha,
        false,
        "revokes are not treated apart",
    ),
    gate(
        Gate::SetMemberLocalAddr,
        "SetMemberLocalAddr",
        Stage::Alpha,
        false,
        "the system chooses the address that peers are dialled from",
    ),
    gate(
        Gate::StopGRPCServiceOnDefrag,
        "StopGRPCServiceOnDefrag",
        Stage::Alpha,
        false,
        "a defragmentation stops no requests",
    ),
    gate(
        Gate::TxnModeWriteWithSharedBuffer,
        "TxnModeWriteWithSharedBuffer",
        Stage::Beta,
        true,
        "it tunes bbolt",
    ),
];

/// Which gates are on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct FeatureGates {
    on: [bool; GATES.len()],
}

impl Default for FeatureGates {
    fn default() -> Self {
        Self { on: GATES.map(|info| info.default) }
    }
}

impl FeatureGates {
    /// Reads `Name=true,Name=false`; the error is etcd's text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut written: Vec<(&'static GateInfo, bool)> = Vec::new();
        for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
            let (name, value) =
                item.split_once('=').ok_or_else(|| format!("missing bool value for {item}"))?;
            let (name, value) = (name.trim(), value.trim());
            let on = super::value::parse_bool(value).ok_or_else(|| {
                format!(
                    "invalid value of {name}={value}, err: strconv.ParseBool: parsing {value:?}: \
                     invalid syntax"
                )
            })?;
            let info = GATES
                .iter()
                .find(|info| info.name == name)
                .ok_or_else(|| format!("unrecognized feature gate: {name}"))?;
            written.push((info, on));
        }
        Ok(Self::from_written(&written))
    }

    /// `AllAlpha` and `AllBeta` move the defaults; what is written by name stands.
    fn from_written(written: &[(&GateInfo, bool)]) -> Self {
        let mut gates = Self::default();
        let all = |stage: Stage| match stage {
            Stage::Alpha => Gate::AllAlpha,
            Stage::Beta => Gate::AllBeta,
        };
        for (group, on) in written {
            for info in GATES.iter().filter(|info| all(info.stage) == group.gate) {
                gates.on[info.gate as usize] = *on;
            }
        }
        for (info, on) in written {
            gates.on[info.gate as usize] = *on;
        }
        gates
    }

    /// Whether the gate is on.
    pub fn enabled(&self, gate: Gate) -> bool {
        self.on[gate as usize]
    }

    /// Every gate with its state.
    pub fn iter(&self) -> impl Iterator<Item = (&'static GateInfo, bool)> + '_ {
        GATES.iter().map(|info| (info, self.enabled(info.gate)))
    }
}

impl fmt::Debug for FeatureGates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter().map(|(info, on)| (info.name, on))).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_in_the_order_of_the_enum() {
        for (at, info) in GATES.iter().enumerate() {
            assert_eq!(info.gate as usize, at);
        }
    }

    #[test]
    fn groups_move_defaults_and_names_stand() {
        let gates = FeatureGates::parse("AllAlpha=true,PriorityRequest=false").unwrap();
        assert!(gates.enabled(Gate::LeaseCheckpoint) && gates.enabled(Gate::AllAlpha));
        assert!(!gates.enabled(Gate::PriorityRequest) && gates.enabled(Gate::FastLeaseKeepAlive));
    }

    #[test]
    fn errors_are_etcds() {
        let error = |text| FeatureGates::parse(text).unwrap_err();
        assert_eq!(error("Foo=true"), "unrecognized feature gate: Foo");
        assert_eq!(error("bad"), "missing bool value for bad");
        assert_eq!(
            error("InitialCorruptCheck=x"),
            "invalid value of InitialCorruptCheck=x, err: strconv.ParseBool: parsing \"x\": invalid syntax"
        );
    }
}
