//! `--initial-cluster` and what must agree with it.

use std::collections::BTreeMap;
use std::net::ToSocketAddrs;

use super::error::ConfigError;
use super::settings::Settings;
use super::types::{Bootstrap, ClusterState};
use super::urls::{self, Url};

const SEVERAL: &str = "clusters of several members are not built yet; list only this member";

/// Checks the members at bootstrap against this one.
pub(super) fn resolve(settings: &Settings, name: &str) -> Result<Bootstrap, ConfigError> {
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
    if settings.is_given("initial-cluster") {
        check_cluster(&settings.text("initial-cluster"), name, &advertise_peer_urls)?;
    } else if name.is_empty() {
        return Err(no_local_name(name));
    }
    let state = match settings.text("initial-cluster-state").as_str() {
        "existing" => ClusterState::Existing,
        _new => ClusterState::New,
    };
    let token = settings.text("initial-cluster-token");
    Ok(Bootstrap { advertise_peer_urls, advertise_client_urls, state, token })
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

fn no_local_name(name: &str) -> ConfigError {
    ConfigError::Invalid(format!(
        "couldn't find local name {name:?} in the initial cluster configuration"
    ))
}

fn check_cluster(text: &str, name: &str, advertised: &[Url]) -> Result<(), ConfigError> {
    let mut members: BTreeMap<&str, Vec<Url>> = BTreeMap::new();
    for item in text.split(',') {
        let (member, url) = item.split_once('=').unwrap_or((item, ""));
        if member.trim().is_empty() || url.is_empty() {
            return Err(ConfigError::Invalid(format!(
                "error setting up initial cluster: empty URL given for {member:?}"
            )));
        }
        let url = Url::parse(url).map_err(|cause| {
            ConfigError::Invalid(format!("error setting up initial cluster: {cause}"))
        })?;
        members.entry(member.trim()).or_default().push(url);
    }
    let urls = members.get_mut(name).ok_or_else(|| no_local_name(name))?;
    urls.sort();
    check_same(name, urls, advertised)?;
    if members.len() > 1 {
        return Err(ConfigError::NotBuilt {
            flag: "initial-cluster".to_owned(),
            value: text.to_owned(),
            reason: SEVERAL.to_owned(),
        });
    }
    Ok(())
}

/// The URLs in `--initial-cluster` and those advertised are equal, as written or once resolved.
fn check_same(name: &str, cluster: &[Url], advertised: &[Url]) -> Result<(), ConfigError> {
    if cluster == advertised {
        return Ok(());
    }
    let (left, right) = (resolved(advertised), resolved(cluster));
    if left == right {
        return Ok(());
    }
    let cluster: Vec<_> = cluster.iter().map(|url| format!("{name}={url}")).collect();
    Err(ConfigError::Invalid(format!(
        "--initial-cluster has {} but missing from --initial-advertise-peer-urls={} (resolved urls: \
         {:?} != {:?})",
        cluster.join(","),
        urls::join(advertised),
        left.join(","),
        right.join(",")
    )))
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
