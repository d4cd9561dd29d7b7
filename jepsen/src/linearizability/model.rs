//! What the search needs to know.

use std::fmt::Debug;
use std::hash::Hash;

/// A sequential object.
pub trait Model {
    /// The object between two operations. Two equal states must behave equally for ever.
    type State: Clone + Eq + Hash + Debug;
    /// What is asked of it.
    type Op: Debug;
    /// What it answers.
    type Response: Debug;

    /// The object before the first operation.
    fn initial(&self) -> Self::State;

    /// The state after `op`, if `op` can come next and answer `response`; else why not.
    ///
    /// Without a response the operation may come next with any answer; a model then refuses where
    /// it would change nothing, since an operation of unknown outcome may as well not have
    /// happened.
    fn step(
        &self,
        state: &Self::State,
        op: &Self::Op,
        response: Option<&Self::Response>,
    ) -> Result<Self::State, String>;
}

/// An operation as the search sees it, over borrowed parts of a history.
#[derive(Debug)]
pub struct Call<'a, M: Model> {
    /// Name in explanations.
    pub id: u64,
    /// When it was called.
    pub invoke: u64,
    /// When it returned; `None` means it may take effect at any later time, or never.
    pub complete: Option<u64>,
    /// What was asked.
    pub op: &'a M::Op,
    /// What was answered. An answered call must have a return; a call with a return but no answer
    /// took effect before it, with an answer nobody saw.
    pub response: Option<&'a M::Response>,
    /// Where the call stands in an order that every linearization keeps, if it is known to.
    pub rank: Option<Rank>,
}

/// Bounds of a call's place in a known order: no call comes after one that is surely later.
///
/// etcd's answers carry the store's revision, which never goes back; using that is what keeps the
/// search from trying orders that the answers themselves rule out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rank {
    /// It comes at this place at the earliest.
    pub earliest: i64,
    /// It comes at this place at the latest.
    pub latest: i64,
}

impl<M: Model> Clone for Call<'_, M> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<M: Model> Copy for Call<'_, M> {}
