//! The members that begin a cluster, from DNS (`--discovery-srv`).

use std::collections::BTreeMap;
use std::net::SocketAddr;

use domain::base::iana::{Rcode, Rtype};
use domain::base::name::Name;
use domain::rdata::Srv;
use domain::resolv::StubResolver;
use domain::resolv::stub::conf::{ResolvConf, ServerConf, Transport};

use super::StartError;
use crate::config::{Config, Discovery, Scheme, Url};

/// What is asked for, in this order, and how the members it names are reached.
const SERVICES: [(&str, Scheme, &str); 2] =
    [("https", Scheme::Https, "etcd-server-ssl"), ("http", Scheme::Http, "etcd-server")];

/// A member as a record has it.
struct Target {
    host: String,
    port: u16,
}

/// The members, as `--initial-cluster` would list them. This one has its name: it knows itself by its
/// address. The others have numbers, which mean nothing to anybody else.
pub(super) async fn find(config: &Config, place: &Discovery) -> Result<String, StartError> {
    let (mut found, mut errors) = (Vec::new(), Vec::new());
    for (scheme_name, scheme, service) in SERVICES {
        let suffix = if place.service.is_empty() { "" } else { "-" };
        let service = format!("{service}{suffix}{}", place.service);
        match members(config, place, scheme, scheme_name, &service).await {
            Ok(members) => found.extend(members),
            Err(error) => {
                tracing::info!(service, error, "DNS names no members of this service");
                errors.push(error);
            }
        }
    }
    if found.is_empty() {
        return Err(StartError::Discovery(errors.join("\n")));
    }
    for node in &found {
        tracing::info!(node, "got bootstrap from DNS for etcd-server");
    }
    let own = |node: &String| node.split_once('=').is_some_and(|(name, _)| name == config.name);
    if !found.iter().any(own) {
        let name = &config.name;
        let error = format!("cannot find local etcd member {name:?} in SRV records");
        return Err(StartError::Discovery(error));
    }
    Ok(found.join(","))
}

/// The members that one service names; none is an error.
async fn members(
    config: &Config,
    place: &Discovery,
    scheme: Scheme,
    scheme_name: &str,
    service: &str,
) -> Result<Vec<String>, String> {
    let mut own = BTreeMap::new();
    for url in &config.bootstrap.advertise_peer_urls {
        own.insert(address(url.address()).await?, url);
    }
    let asked = format!("_{service}._tcp.{}", place.domain);
    let records = query(&place.name_servers, &asked).await;
    let records = records.map_err(|cause| {
        format!("error querying DNS SRV records for _{service} lookup {asked}: {cause}")
    })?;
    let (mut found, mut number, mut error) = (Vec::new(), 0, String::new());
    for Target { host, port } in records {
        let at = format!("{host}:{port}");
        let known: Option<&&Url> = match address(&at).await {
            Ok(address) => own.get(&address),
            Err(cause) => {
                tracing::warn!(
                    target = at,
                    error = cause,
                    "an SRV record leads nowhere; ignoring it"
                );
                error = cause;
                continue;
            }
        };
        let url = format!("{scheme_name}://{at}");
        match known {
            Some(own) if own.scheme() != scheme => {
                error = format!(
                    "bootstrap at {url} from DNS for {service} has scheme mismatch with expected peer {own}"
                );
            }
            Some(_) => found.push(format!("{}={url}", config.name)),
            None => {
                found.push(format!("{number}={url}"));
                number += 1;
            }
        }
    }
    if found.is_empty() {
        return Err(format!("error querying DNS SRV records for _{service} {error}"));
    }
    Ok(found)
}

/// The first address of `host:port`, of the older kind if there is one: as Go picks it.
async fn address(at: &str) -> Result<SocketAddr, String> {
    let found = tokio::net::lookup_host(at).await;
    let mut addresses: Vec<SocketAddr> =
        found.map_err(|error| format!("lookup {at}: {error}"))?.collect();
    addresses.sort_by_key(SocketAddr::is_ipv6);
    addresses.first().copied().ok_or_else(|| format!("lookup {at}: no such host"))
}

/// The records of `name`, by priority.
async fn query(name_servers: &[SocketAddr], name: &str) -> Result<Vec<Target>, String> {
    let resolver = StubResolver::from_conf(configuration(name_servers)?);
    let name = Name::vec_from_str(name).map_err(|error| error.to_string())?;
    let answer = resolver.query((name, Rtype::SRV)).await.map_err(|error| error.to_string())?;
    match answer.header().rcode() {
        Rcode::NOERROR => {}
        Rcode::NXDOMAIN => return Err("no such host".to_owned()),
        failed => return Err(format!("the name server answered {failed}")),
    }
    let unreadable = |error: domain::base::wire::ParseError| error.to_string();
    let mut records = Vec::new();
    for record in answer.answer().map_err(unreadable)?.limit_to_in::<Srv<_>>() {
        let record = record.map_err(unreadable)?;
        let srv = record.data();
        let host = srv.target().to_string();
        let target = Target { host: host.trim_end_matches('.').to_owned(), port: srv.port() };
        records.push((srv.priority(), target));
    }
    if records.is_empty() {
        return Err("no such host".to_owned());
    }
    records.sort_by_key(|(priority, _)| *priority);
    Ok(records.into_iter().map(|(_, target)| target).collect())
}

fn configuration(name_servers: &[SocketAddr]) -> Result<ResolvConf, String> {
    /// Where the system's are.
    const SYSTEM: &str = "/etc/resolv.conf";
    let mut configuration = ResolvConf::new();
    if name_servers.is_empty() {
        configuration.parse_file(SYSTEM).map_err(|error| format!("{SYSTEM}: {error}"))?;
    }
    for server in name_servers {
        configuration.servers.push(ServerConf::new(*server, Transport::UdpTcp));
    }
    configuration.finalize();
    Ok(configuration)
}
