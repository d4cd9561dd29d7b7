//! The flags themselves, one file per group of categories.

mod clustering;
mod features;
mod member;
mod observability;
mod security;

use super::flags::{Category, Flag};

pub(super) const CATEGORIES: &[(Category, &[Flag])] = &[
    (Category::Member, member::FLAGS),
    (Category::Clustering, clustering::FLAGS),
    (Category::Security, security::FLAGS),
    (Category::Auth, security::AUTH),
    (Category::Monitoring, observability::MONITORING),
    (Category::Logging, observability::LOGGING),
    (Category::Tracing, observability::TRACING),
    (Category::Features, features::FLAGS),
    (Category::Unsafe, features::UNSAFE),
    (Category::Vetch, member::VETCH),
    (Category::Legacy, features::LEGACY),
];
