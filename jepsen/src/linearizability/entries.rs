//! The calls that are not yet placed, in real-time order, with constant-time removal and return.

/// Position of a node in the list.
pub(super) type NodeId = u32;

/// What happens at a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Node {
    /// Operation `0` of the search's input may be placed from here on.
    Invoke(usize),
    /// It must have been placed by here.
    Return(usize),
    /// Front and back of the list.
    Sentinel,
}

/// A doubly linked list over an array. Nodes are lifted and put back in stack order, so a lifted
/// node still knows its neighbours (Knuth's dancing links).
#[derive(Debug)]
pub(super) struct Entries {
    nodes: Vec<Node>,
    order: Vec<u64>,
    next: Vec<NodeId>,
    prev: Vec<NodeId>,
    return_of: Vec<Option<NodeId>>,
}

impl Entries {
    /// From `(invoke, complete)` of the operations at the given positions of the search's input.
    pub(super) fn new(calls: impl Iterator<Item = (usize, u64, Option<u64>)>) -> Self {
        let mut timeline = Vec::new();
        for (index, invoke, complete) in calls {
            timeline.push((invoke, Node::Invoke(index)));
            timeline.extend(complete.map(|complete| (complete, Node::Return(index))));
        }
        timeline.sort_by_key(|(order, _)| *order);
        timeline.insert(0, (0, Node::Sentinel));
        timeline.push((u64::MAX, Node::Sentinel));

        let count = timeline.len();
        let mut return_of = vec![None; count];
        let mut invoke_at = std::collections::BTreeMap::new();
        for (at, (_, node)) in timeline.iter().enumerate() {
            match node {
                Node::Invoke(index) => drop(invoke_at.insert(*index, at)),
                Node::Return(index) => return_of[invoke_at[index]] = Some(id(at)),
                Node::Sentinel => {}
            }
        }
        Self {
            next: (0..count).map(|at| id((at + 1).min(count - 1))).collect(),
            prev: (0..count).map(|at| id(at.saturating_sub(1))).collect(),
            order: timeline.iter().map(|(order, _)| *order).collect(),
            nodes: timeline.into_iter().map(|(_, node)| node).collect(),
            return_of,
        }
    }

    /// The first node that is not lifted; a sentinel when the list is empty.
    pub(super) fn first(&self) -> NodeId {
        self.next[0]
    }

    /// The node after `node`.
    pub(super) fn after(&self, node: NodeId) -> NodeId {
        self.next[node as usize]
    }

    /// What happens at `node`.
    pub(super) fn get(&self, node: NodeId) -> Node {
        self.nodes[node as usize]
    }

    /// When it happens.
    pub(super) fn order(&self, node: NodeId) -> u64 {
        self.order[node as usize]
    }

    /// Takes an invoke and its return out of the list.
    pub(super) fn lift(&mut self, invoke: NodeId) {
        self.unlink(invoke);
        if let Some(complete) = self.return_of[invoke as usize] {
            self.unlink(complete);
        }
    }

    /// Puts back what [`Self::lift`] took; only in the reverse order of lifting.
    pub(super) fn unlift(&mut self, invoke: NodeId) {
        if let Some(complete) = self.return_of[invoke as usize] {
            self.relink(complete);
        }
        self.relink(invoke);
    }

    fn unlink(&mut self, node: NodeId) {
        let (prev, next) = (self.prev[node as usize], self.next[node as usize]);
        self.next[prev as usize] = next;
        self.prev[next as usize] = prev;
    }

    fn relink(&mut self, node: NodeId) {
        let (prev, next) = (self.prev[node as usize], self.next[node as usize]);
        self.next[prev as usize] = node;
        self.prev[next as usize] = node;
    }
}

fn id(at: usize) -> NodeId {
    NodeId::try_from(at).expect("fewer than 2^32 nodes")
}
