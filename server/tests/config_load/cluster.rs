//! The members that begin a cluster.

use vetch_server::config::{InitialMember, Url};

use super::run;

/// The members that begin the cluster, as `name=URLs`.
fn initial(arguments: &[&str]) -> Result<Vec<String>, String> {
    let config = run(arguments, &[]).unwrap();
    let members = config.bootstrap.initial_members(&config.name, None);
    let members = members.map_err(|error| error.to_string())?;
    let show = |member: &InitialMember| {
        let urls: Vec<&str> = member.peer_urls.iter().map(Url::as_str).collect();
        format!("{}={}", member.name, urls.join("+"))
    };
    Ok(members.iter().map(show).collect())
}

#[test]
fn the_members_that_begin_a_cluster() {
    const AT_1: &str = "--initial-advertise-peer-urls=http://127.0.0.1:1";
    for (arguments, members) in [
        (&[][..], &["default=http://localhost:2380"][..]),
        (&["--name=a", AT_1], &["a=http://127.0.0.1:1"]),
        (
            &["--initial-cluster=c=http://h:3,default=http://127.0.0.1:1,b=http://h:2,", AT_1],
            &["b=http://h:2", "c=http://h:3", "default=http://127.0.0.1:1"],
        ),
        (
            // Two of a member, in any order; one resolves to what is advertised.
            &[
                "--initial-cluster=b=http://h:2,default=http://127.0.0.1:1,b=http://h:1",
                "--initial-advertise-peer-urls=http://127.0.0.1:1",
            ],
            &["b=http://h:1+http://h:2", "default=http://127.0.0.1:1"],
        ),
    ] {
        let members: Vec<String> = members.iter().map(|&text| text.to_owned()).collect();
        assert_eq!(initial(arguments), Ok(members), "{arguments:?}");
    }
}

#[test]
fn a_cluster_that_cannot_begin_is_refused_in_etcds_words() {
    const AT_1: &str = "--initial-advertise-peer-urls=http://127.0.0.1:1";
    const AT_1_AND_9: &str = "--initial-advertise-peer-urls=http://127.0.0.1:1,http://127.0.0.1:9";
    let no_name = "couldn't find local name \"default\" in the initial cluster configuration";
    let no_url =
        "error setting up initial cluster: URL scheme must be http, https, unix, or unixs: ";
    for (arguments, text) in [
        (&["--initial-cluster=a=http://1.2.3.4:2380"][..], no_name),
        (&["--initial-cluster="], no_name),
        // etcd does not trim names.
        (&["--initial-cluster= default=http://127.0.0.1:1", AT_1], no_name),
        (&["--initial-cluster=default=http://127.0.0.1:1,b=", AT_1], no_url),
        (&["--initial-cluster=default=http://127.0.0.1:1,b", AT_1], no_url),
        (&["--initial-cluster=default=http://127.0.0.1:1,b=foo", AT_1], &format!("{no_url}foo")),
        (
            &["--name=x", "--initial-cluster=x=http://localhost:2381"],
            "--initial-cluster has x=http://localhost:2381 but missing from \
             --initial-advertise-peer-urls=http://localhost:2380 (resolved urls: \
             \"http://localhost:2380\" != \"http://localhost:2381\")",
        ),
        (
            &["--initial-cluster=default=http://127.0.0.1:1,b=http://127.0.0.1:2", AT_1_AND_9],
            "--initial-advertise-peer-urls has http://127.0.0.1:9 but missing from \
             --initial-cluster=default=http://127.0.0.1:1,default=http://127.0.0.1:9",
        ),
        (
            &["--initial-cluster=default=http://127.0.0.1:1,b=http://127.0.0.1:1", AT_1],
            "initial cluster b=http://127.0.0.1:1,default=http://127.0.0.1:1 has duplicate url",
        ),
    ] {
        assert_eq!(initial(arguments), Err(text.to_owned()), "{arguments:?}");
    }
}
