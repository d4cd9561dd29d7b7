//! A member that was added to a running cluster finds its place in it.

use std::time::Duration;

use vetch_proto::etcdserverpb::Member;
use vetch_proto::vetchpb::{MembersReply, MembersRequest};
use vetch_raft::transport::grpc::GrpcTransport;
use vetch_storage::ClusterId;

use super::StartError;
use crate::config::{Config, InitialMember, Url, are_same_place};

/// How long members are asked, in turn, until one answers: etcd's own patience.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two rounds.
const PAUSE: Duration = Duration::from_millis(200);

/// The cluster, and who is who in it.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) cluster: ClusterId,
    pub(super) own: Member,
    pub(super) others: Vec<Member>,
}

/// Asks the members that `--initial-cluster` names. It must name all members of the cluster, this one
/// among them, as etcd demands: a mistake would otherwise show much later.
pub(super) async fn find_place(
    transport: &GrpcTransport,
    config: &Config,
    discovered: Option<&str>,
) -> Result<Place, StartError> {
    let listed = config.bootstrap.initial_members(&config.name, discovered)?;
    let others = listed.iter().filter(|member| member.name != config.name);
    let urls: Vec<&Url> = others.flat_map(|member| &member.peer_urls).collect();
    // A member that is asked may have to ask its leader first.
    let within = config.raft.election_timeout + Duration::from_secs(1);
    let asked = tokio::time::timeout(PATIENCE, first_answer(transport, &urls, within)).await;
    let known = asked.map_err(|_late| {
        StartError::Join(format!(
            "cannot fetch cluster info from peer urls: could not retrieve cluster information from \
             the given URLs: {}",
            shown(urls.iter().copied())
        ))
    })?;
    assign(&config.name, &listed, known)
}

async fn first_answer(transport: &GrpcTransport, urls: &[&Url], within: Duration) -> MembersReply {
    loop {
        for url in urls {
            let asked = MembersRequest { at_once: false };
            match transport.ask_members(url.as_str(), asked, within).await {
                Ok(members) => return members,
                Err(error) => tracing::warn!(%url, error, "a member gave no cluster information"),
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Finds each member that is listed among those that are known, by its peer URLs.
fn assign(name: &str, listed: &[InitialMember], known: MembersReply) -> Result<Place, StartError> {
    let MembersReply { cluster, members } = known;
    let refuse = |why: &str| {
        let urls = listed.iter().flat_map(|member| &member.peer_urls);
        StartError::Join(format!("error validating peerURLs {}: {why}", shown(urls)))
    };
    if listed.len() != members.len() {
        return Err(refuse("member count is unequal"));
    }
    let mut own = None;
    let mut others = Vec::new();
    for InitialMember { name: listed_name, peer_urls } in listed {
        let found = members.iter().find(|member| is_at(member, peer_urls));
        let found = found.ok_or_else(|| refuse("unmatched member while checking PeerURLs"))?;
        if listed_name == name {
            own = Some(Member { name: name.to_owned(), ..found.clone() });
        } else {
            others.push(found.clone());
        }
    }
    let own = own.ok_or_else(|| refuse("this member is not among them"))?;
    Ok(Place { cluster: ClusterId(cluster), own, others })
}

fn is_at(member: &Member, peer_urls: &[Url]) -> bool {
    let urls: Result<Vec<Url>, String> =
        member.peer_ur_ls.iter().map(|text| Url::parse(text)).collect();
    urls.is_ok_and(|mut urls| {
        urls.sort();
        are_same_place(&urls, peer_urls)
    })
}

fn shown<'a>(urls: impl Iterator<Item = &'a Url>) -> String {
    let texts: Vec<String> = urls.map(ToString::to_string).collect();
    texts.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(name: &str, url: &str) -> InitialMember {
        InitialMember { name: name.to_owned(), peer_urls: vec![Url::parse(url).unwrap()] }
    }

    fn known(id: u64, url: &str) -> Member {
        Member { id, peer_ur_ls: vec![url.to_owned()], ..Member::default() }
    }

    #[test]
    fn who_is_who_is_told_by_peer_urls() {
        let (a, b) = ("http://10.0.0.1:2380", "http://10.0.0.2:2380");
        let members = vec![known(1, a), known(2, b)];
        let reply = MembersReply { cluster: 9, members };
        let initial = [listed("a", a), listed("b", b)];
        let place = assign("b", &initial, reply.clone()).unwrap();
        assert_eq!((place.cluster, place.own.id, place.own.name.as_str()), (ClusterId(9), 2, "b"));
        assert_eq!(place.others, [known(1, a)]);

        let error = assign("b", &initial[1..], reply.clone()).unwrap_err().to_string();
        assert!(error.ends_with("member count is unequal"), "{error}");
        let elsewhere = [listed("a", a), listed("b", "http://10.0.0.3:2380")];
        let error = assign("b", &elsewhere, reply).unwrap_err().to_string();
        assert!(error.contains("unmatched member"), "{error}");
    }
}
