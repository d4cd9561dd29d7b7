//! Steps that wait as long as a busy machine may need, and say what never came.

use super::*;

/// As long as one step may take that ends at all: the machine may be busy with something else, and its disk
/// may stall.
pub(super) const PATIENT: Duration = Duration::from_mins(2);

/// For members that share a machine's processors and disk with whatever else it does. A stall is all of
/// theirs at once: nobody would lead better, and who campaigned for it would only disturb what is tested.
pub(super) fn settings() -> Settings {
    Settings {
        election_timeout: Duration::from_secs(5),
        request_timeout: Duration::from_secs(15),
        ..Settings::for_tests()
    }
}

/// Waits for `future`, and says what never came.
pub(super) async fn ends<T>(what: &str, future: impl Future<Output = T> + Send) -> T {
    let ended = TokioRuntime::timeout(PATIENT, Box::pin(future)).await;
    ended.unwrap_or_else(|_| panic!("never {what}"))
}

/// Puts as a client does, who asks again when there was no answer in time.
pub(super) async fn insist<E: Engine + fmt::Debug>(
    replica: &Replica<Tokio<E>>,
    key: &str,
    value: &str,
) {
    let taken = async {
        loop {
            match replica.propose(put(key, value)).await {
                Ok(_) => return,
                Err(
                    ProposeError::NoLeader
                    | ProposeError::TimedOut
                    | ProposeError::TimedOutLeaderChanged,
                ) => {}
                Err(error) => panic!("{key}: {error}"),
            }
        }
    };
    ends(key, taken).await;
}

/// As [`insist`], of a linearizable read.
pub(super) async fn read<E: Engine + fmt::Debug>(replica: &Replica<Tokio<E>>) -> ReadView<E> {
    let answered = async {
        loop {
            match replica.linearizable_view().await {
                Ok(view) => return view,
                Err(ReadIndexError::TimedOut) => {}
                Err(error) => panic!("{error}"),
            }
        }
    };
    ends("read", answered).await
}

/// Changes the group, again as long as it was refused for who is not heard from just now.
pub(super) async fn change<E: Engine + fmt::Debug>(
    replica: &Replica<Tokio<E>>,
    change: &MemberChange,
) -> Vec<Member> {
    let changed = async {
        loop {
            match replica.change_membership(change.clone(), MemberRules::default()).await {
                Ok(members) => return members,
                Err(MemberChangeError::Unhealthy | MemberChangeError::NoLeader) => {
                    TokioRuntime::sleep(Duration::from_millis(50)).await;
                }
                Err(error) => panic!("{change:?}: {error}"),
            }
        }
    };
    ends("changed", changed).await
}

pub(super) async fn until(what: &str, holds: impl Fn() -> bool + Send + Sync) {
    let wait = async {
        while !holds() {
            TokioRuntime::sleep(Duration::from_millis(5)).await;
        }
    };
    ends(what, wait).await;
}
