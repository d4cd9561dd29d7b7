//! What the user wrote, flag by flag, with the defaults behind it.

use std::collections::BTreeMap;

use super::flags::{self, Flag};
use super::gates::FeatureGates;
use super::urls::Url;
use super::value::Value;

/// Values by flag; an accessor of the wrong type is a fault of the program, found by the tests that
/// walk the table.
#[derive(Clone, Debug, Default)]
pub(super) struct Settings {
    given: BTreeMap<&'static str, Given>,
}

/// One setting as it was written.
#[derive(Clone, Debug)]
pub(super) struct Given {
    pub(super) flag: &'static Flag,
    /// For messages.
    pub(super) text: String,
    pub(super) value: Value,
}

impl Settings {
    /// The last one written wins.
    pub(super) fn set(&mut self, flag: &'static Flag, text: String, value: Value) {
        self.given.insert(flag.name, Given { flag, text, value });
    }

    pub(super) fn is_given(&self, name: &str) -> bool {
        self.given.contains_key(name)
    }

    pub(super) fn all_given(&self) -> impl Iterator<Item = &Given> {
        self.given.values()
    }

    fn value(&self, name: &str) -> Value {
        if let Some(given) = self.given.get(name) {
            return given.value.clone();
        }
        let flag = flags::find(name).unwrap_or_else(|| panic!("no flag is called {name}"));
        Value::parse(flag.kind, flag.default)
            .unwrap_or_else(|cause| panic!("the default of --{name} cannot be read: {cause}"))
    }

    fn pick<T>(&self, name: &str, take: impl FnOnce(Value) -> Option<T>) -> T {
        take(self.value(name)).unwrap_or_else(|| panic!("--{name} is not of the type asked for"))
    }

    pub(super) fn text(&self, name: &str) -> String {
        self.pick(name, |value| if let Value::Text(text) = value { Some(text) } else { None })
    }

    pub(super) fn bool(&self, name: &str) -> bool {
        self.pick(name, |value| if let Value::Bool(on) = value { Some(on) } else { None })
    }

    pub(super) fn int(&self, name: &str) -> i64 {
        self.pick(name, |value| if let Value::Int(number) = value { Some(number) } else { None })
    }

    pub(super) fn uint(&self, name: &str) -> u64 {
        self.pick(name, |value| if let Value::Uint(number) = value { Some(number) } else { None })
    }

    /// Nanoseconds, with a sign.
    pub(super) fn nanos(&self, name: &str) -> i64 {
        self.pick(name, |value| if let Value::Duration(nanos) = value { Some(nanos) } else { None })
    }

    pub(super) fn urls(&self, name: &str) -> Vec<Url> {
        self.pick(name, |value| if let Value::Urls(urls) = value { Some(urls) } else { None })
    }

    pub(super) fn words(&self, name: &str) -> Vec<String> {
        self.pick(name, |value| if let Value::Words(words) = value { Some(words) } else { None })
    }

    pub(super) fn gates(&self, name: &str) -> FeatureGates {
        self.pick(name, |value| if let Value::Gates(gates) = value { Some(gates) } else { None })
    }
}
