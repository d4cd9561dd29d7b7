//! `--initial-cluster` and what must agree with it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::ToSocketAddrs;

use super::error::ConfigError;
use super::settings::Settings;
use super::types::{Bootstrap, ClusterState, Discovery, InitialCluster};
use super::urls::{self, Url};

/// A voter of the cluster that a fresh data directory begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitialMember {
    /// Its `--name`.
    pub name: String,
    /// Its peer URLs, sorted as etcd sorts them.
    pub peer_urls: Vec<Url>,
}

/// Checks what is told of this member at bootstrap.
pub(super) fn resolve(settings: &Settings) -> Result<Bootstrap, ConfigError> {
    let advertise_peer_urls = settings.urls("initial-advertise-peer-urls");
    check_hosts("initial-advertise-peer-urls", "\"host:port\"", &advertise_peer_urls)?;
    let advertise_client_urls = settings.urls("advertise-client-urls");
    check_hosts(
        "advertise-client-urls",
        "in the format \"host:port\", \"unix:/path/to/socket\" or \"unixs:/path/to/socket\"",
        &advertise_client_urls,
    )?;
    if settings.is_given("listen-client-urls") && !settings.is_given("advertise-client-urls") {
        return Err(ConfigError::Invalid(
            "--advertise-client-urls is required when --listen-client-urls is set explicitly"
                .to_owned(),
        ));
    }
    let state = match settings.text("initial-cluster-state").as_str() {
        "existing" => ClusterState::Existing,
        _new => ClusterState::New,
    };
    let token = settings.text("initial-cluster-token");
    let force_new_cluster = settings.bool("force-new-cluster");
    Ok(Bootstrap {
        advertise_peer_urls,
        advertise_client_urls,
        cluster: cluster(settings)?,
        state,
        token,
        force_new_cluster,
    })
}

fn cluster(settings: &Settings) -> Result<InitialCluster, ConfigError> {
    let listed =
        Some(settings.text("initial-cluster")).filter(|_| settings.is_given("initial-cluster"));
    let (domain, service) = (settings.text("discovery-srv"), settings.text("discovery-srv-name"));
    match listed {
        Some(listed) if !listed.is_empty() && !domain.is_empty() => invalid(
            "multiple discovery or bootstrap flags are set. Choose one of \"initial-cluster\", \
             \"discovery-endpoints\" or \"discovery-srv\""
                .to_owned(),
        ),
        _ if !domain.is_empty() => {
            let name_servers = Vec::new();
            Ok(InitialCluster::Discovered(Discovery { domain, service, name_servers }))
        }
        Some(listed) => Ok(InitialCluster::Listed(listed)),
        // etcd forgets its default then, and finds that it is not in an empty cluster.
        None if !service.is_empty() => {
            invalid("--discovery-srv-name needs --discovery-srv".to_owned())
        }
        None => Ok(InitialCluster::ThisMember),
    }
}

fn check_hosts(flag: &str, form: &str, urls: &[Url]) -> Result<(), ConfigError> {
    for url in urls {
        url.check_host().map_err(|cause| {
            let all = urls::join(urls);
            ConfigError::Invalid(format!("--{flag} {all:?} must be {form} ({cause})"))
        })?;
    }
    Ok(())
}

impl Bootstrap {
    /// The members that begin the cluster, by name; this one, called `name`, is among them. Discovery
    /// finds them in the form of `--initial-cluster`.
    ///
    /// Asked for in a fresh data directory only: with data these flags are not even read, as in
    /// etcd. May ask the system for the addresses of names.
    pub fn initial_members(
        &self,
        name: &str,
        discovered: Option<&str>,
    ) -> Result<Vec<InitialMember>, ConfigError> {
        let members = match &self.cluster {
            InitialCluster::Discovered(_) => parse(discovered.unwrap_or_default())?,
            InitialCluster::ThisMember if name.is_empty() => return Err(no_local_name(name)),
            InitialCluster::ThisMember => {
                BTreeMap::from([(name.to_owned(), self.advertise_peer_urls.clone())])
            }
            InitialCluster::Listed(text) => parse(text)?,
        };
        let own = members.get(name).ok_or_else(|| no_local_name(name))?;
        check_same(name, own, &self.advertise_peer_urls)?;
        check_distinct(&members)?;
        let member = |(name, peer_urls)| InitialMember { name, peer_urls };
        Ok(members.into_iter().map(member).collect())
    }
}

fn invalid<T>(text: String) -> Result<T, ConfigError> {
    Err(ConfigError::Invalid(text))
}

fn no_local_name(name: &str) -> ConfigError {
    ConfigError::Invalid(format!(
        "couldn't find local name {name:?} in the initial cluster configuration"
    ))
}

/// `name=URL`, comma-separated; a name may come again. As etcd reads it, names keep their spaces.
fn parse(text: &str) -> Result<BTreeMap<String, Vec<Url>>, ConfigError> {
    let mut members = BTreeMap::<String, Vec<Url>>::new();
    for item in text.split(',').filter(|item| !item.is_empty()) {
        let (member, url) = item.split_once('=').unwrap_or((item, ""));
        let url = Url::parse(url).map_err(|cause| {
            ConfigError::Invalid(format!("error setting up initial cluster: {cause}"))
        })?;
        members.entry(member.to_owned()).or_default().push(url);
    }
    for urls in members.values_mut() {
        urls.sort();
    }
    Ok(members)
}

/// Whether two members' peer URLs lead to the same place: as written, or once names are resolved.
pub fn are_same_place(one: &[Url], other: &[Url]) -> bool {
    one == other || resolved(one) == resolved(other)
}

/// The URLs in `--initial-cluster` and those advertised are equal, as written or once resolved.
fn check_same(name: &str, listed: &[Url], advertised: &[Url]) -> Result<(), ConfigError> {
    if listed == advertised {
        return Ok(());
    }
    let (left, right) = (resolved(advertised), resolved(listed));
    if left == right {
        return Ok(());
    }
    let why = format!("resolved urls: {:?} != {:?}", left.join(","), right.join(","));
    let lacking = |urls: &[Url], others: &[Url]| -> Vec<String> {
        urls.iter().filter(|url| !others.contains(url)).map(ToString::to_string).collect()
    };
    let named = |urls: &[Url]| pairs(urls.iter().map(|url| (name, url)));
    let (unadvertised, unlisted) = (lacking(listed, advertised), lacking(advertised, listed));
    let advertised_text = urls::join(advertised);
    invalid(if !unadvertised.is_empty() {
        let lacking: Vec<_> = unadvertised.iter().map(|url| format!("{name}={url}")).collect();
        format!(
            "--initial-cluster has {} but missing from \
             --initial-advertise-peer-urls={advertised_text} ({why})",
            lacking.join(",")
        )
    } else if !unlisted.is_empty() {
        // etcd shows what is advertised here, too.
        let (lacking, shown) = (unlisted.join(","), named(advertised));
        format!(
            "--initial-advertise-peer-urls has {lacking} but missing from --initial-cluster={shown}"
        )
    } else {
        let shown = named(advertised);
        format!("failed to resolve {advertised_text} to match --initial-cluster={shown} ({why})")
    })
}

fn check_distinct(members: &BTreeMap<String, Vec<Url>>) -> Result<(), ConfigError> {
    let mut seen = BTreeSet::new();
    if members.values().flatten().all(|url| seen.insert(url)) {
        return Ok(());
    }
    let all = members.iter().flat_map(|(name, urls)| urls.iter().map(move |url| (&**name, url)));
    invalid(format!("initial cluster {} has duplicate url", pairs(all)))
}

/// `name=URL` of each, sorted.
fn pairs<'a>(urls: impl Iterator<Item = (&'a str, &'a Url)>) -> String {
    let mut pairs: Vec<String> = urls.map(|(name, url)| format!("{name}={url}")).collect();
    pairs.sort();
    pairs.join(",")
}

/// Each URL with its host's first address in place of the host's name; `localhost` stays.
fn resolved(urls: &[Url]) -> Vec<String> {
    let mut texts: Vec<_> = urls.iter().map(resolve_one).collect();
    texts.sort();
    texts
}

fn resolve_one(url: &Url) -> String {
    let host = url.host();
    if host.is_empty() || host == "localhost" {
        return url.to_string();
    }
    let address = url.address().to_socket_addrs().ok().and_then(|mut found| found.next());
    match (address, url.as_str().split_once(':')) {
        (Some(address), Some((scheme, _))) => format!("{scheme}://{address}"),
        _unresolved => url.to_string(),
    }
}
