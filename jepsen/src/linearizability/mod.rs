//! Is there an order of the operations, consistent with real time, that a sequential store
//! explains?
//!
//! - `model`: what a checker must know about a sequential object
//! - `search`: the search for an order (Wing & Gong, with Lowe's memoised configurations)
//! - `entries`: the search's lists of calls and returns
//! - `ranks`: the order that answers themselves claim
//! - `explanation`: where the search got stuck, for people
//! - `key_model`: one key, where revisions of other keys' writes are not seen
//! - `store_model`: the whole store, every revision accounted for
//! - `resolve`: turns a history into calls; what is known of operations without an answer
//! - `verdict`: picks the model and the partitions for a history
//!
//! Wing & Gong, "Testing and Verifying Concurrent Objects", 1993; Lowe, "Testing for
//! Linearizability", 2017.

mod entries;
mod explanation;
mod key_model;
mod model;
mod ranks;
mod resolve;
mod search;
mod store_model;
mod verdict;

pub use explanation::{Candidate, Stuck};
pub use key_model::KeyModel;
pub use model::{Call, Model, Rank};
pub use search::{Budget, Search, search};
pub use store_model::StoreModel;
pub use verdict::{Linearizability, check_by_key, check_store};
