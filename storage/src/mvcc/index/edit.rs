//! Changing one key: the path from the root to its leaf is copied where another tree shares it.

use std::sync::Arc;

use super::IndexEntry;
use super::draft::{Draft, MAX_BYTES, MAX_KEYS};
use super::leaf::Leaf;
use super::node::{Child, Inner, MAX_CHILDREN, Node, Separators, Summary, separator};

/// A node is merged with a neighbour when it falls below a quarter and both together fill at most
/// three quarters: so that neither a few insertions nor a few removals undo it.
const MERGE_BELOW: usize = 4;

/// What became of a subtree: its right half, when it had to be split, and what separates the two.
type Split = Option<(Vec<u8>, Child)>;

pub(super) fn insert(root: &mut Option<Child>, key: &[u8], entry: &IndexEntry) {
    let Some(child) = root else {
        let mut draft = Draft::default();
        draft.push(key, *entry);
        let (leaf, summary) = draft.pack(0..1);
        *root = Some(Child { node: Node::Leaf(leaf), summary });
        return;
    };
    if let Some((separator, right)) = insert_below(child, key, entry) {
        let children = vec![child.clone(), right];
        let separators = Arc::new(Separators::new([separator.as_slice()]));
        *root = Some(Inner { separators, children }.into_child());
    }
}

fn insert_below(child: &mut Child, key: &[u8], entry: &IndexEntry) -> Split {
    match &mut child.node {
        Node::Leaf(leaf) => {
            let (summary, split) = insert_in_leaf(leaf, &child.summary, key, entry);
            child.summary = summary;
            split
        }
        Node::Inner(inner) => {
            let inner = Arc::make_mut(inner);
            let slot = inner.slot_for(key);
            let before = inner.children[slot].summary;
            let split = insert_below(&mut inner.children[slot], key, entry);
            let Some((separator, right)) = split else {
                let after = inner.children[slot].summary;
                child.summary = exchange(&child.summary, &before, &after);
                return None;
            };
            inner.separators = Arc::new(inner.separators.with(slot, &separator));
            inner.children.insert(slot + 1, right);
            let split = split_inner(inner, slot + 1);
            child.summary = inner.summary();
            split
        }
    }
}

/// A sum after one of its parts changed; the part's `max_modified` only grows by an insertion.
fn exchange(sum: &Summary, before: &Summary, after: &Summary) -> Summary {
    Summary {
        entries: sum.entries + after.entries - before.entries,
        live: sum.live + after.live - before.live,
        max_modified: sum.max_modified.max(after.max_modified),
    }
}

fn insert_in_leaf(
    leaf: &mut Leaf,
    summary: &Summary,
    key: &[u8],
    entry: &IndexEntry,
) -> (Summary, Split) {
    let shape = leaf.shape();
    let found = shape.search(leaf.bytes(), key);
    if let Ok(row) = found
        && leaf.overwrite(&shape, row, entry)
    {
        let max_modified = summary.max_modified.max(entry.modified.main);
        // Overwriting in place keeps the row's flags, the tombstone's among them.
        return (Summary { max_modified, ..*summary }, None);
    }
    let (row, next) = match found {
        Ok(row) => (row, row + 1),
        Err(row) => (row, row),
    };
    let mut draft = Draft::new();
    draft.push_rows(leaf, 0..row);
    draft.push(key, *entry);
    draft.push_rows(leaf, next..shape.count);
    let (packed, summary) = draft.pack(0..draft.len());
    if !draft.is_too_large(packed.bytes().len()) {
        *leaf = packed;
        return (summary, None);
    }
    let cut = draft.split_point(row);
    let (left, summary) = draft.pack(0..cut);
    let (right, right_summary) = draft.pack(cut..draft.len());
    *leaf = left;
    let separator = separator(draft.key(cut - 1), draft.key(cut)).to_vec();
    let right = Child { node: Node::Leaf(right), summary: right_summary };
    (summary, Some((separator, right)))
}

/// Cuts a node that has too many children; at the end when they are added in order.
fn split_inner(inner: &mut Inner, inserted_at: usize) -> Split {
    let count = inner.children.len();
    if count <= MAX_CHILDREN {
        return None;
    }
    let cut = if inserted_at == count - 1 { count - 1 } else { count / 2 };
    let right = Inner {
        separators: Arc::new(inner.separators.part(cut..inner.separators.len())),
        children: inner.children.split_off(cut),
    };
    let separator = inner.separators.get(cut - 1).to_vec();
    inner.separators = Arc::new(inner.separators.part(0..cut - 1));
    Some((separator, right.into_child()))
}

/// Removes a key that is there.
pub(super) fn remove(root: &mut Option<Child>, key: &[u8]) {
    let Some(child) = root else { unreachable!("the key was found") };
    if !remove_below(child, key) {
        *root = None;
    }
    // A root with one child is a level too many.
    while let Some(Child { node: Node::Inner(inner), .. }) = root
        && let [only] = inner.children.as_slice()
    {
        *root = Some(only.clone());
    }
}

/// `false` when nothing is left of the subtree.
fn remove_below(child: &mut Child, key: &[u8]) -> bool {
    match &mut child.node {
        Node::Leaf(leaf) => {
            let shape = leaf.shape();
            let Ok(row) = shape.search(leaf.bytes(), key) else {
                unreachable!("the key was found")
            };
            if shape.count == 1 {
                return false;
            }
            let mut draft = Draft::new();
            draft.push_rows(leaf, 0..row);
            draft.push_rows(leaf, row + 1..shape.count);
            (*leaf, child.summary) = draft.pack(0..draft.len());
        }
        Node::Inner(inner) => {
            let inner = Arc::make_mut(inner);
            let slot = inner.slot_for(key);
            if remove_below(&mut inner.children[slot], key) {
                merge_around(inner, slot);
            } else {
                drop_child(inner, slot);
            }
            if inner.children.is_empty() {
                return false;
            }
            child.summary = inner.summary();
        }
    }
    true
}

/// Removes an empty child. Its keys' range falls to a neighbour.
fn drop_child(inner: &mut Inner, slot: usize) {
    inner.children.remove(slot);
    if inner.separators.len() > 0 {
        inner.separators = Arc::new(inner.separators.without(slot.saturating_sub(1)));
    }
}

/// Merges child `slot` with a neighbour if it has become small and they fit together.
fn merge_around(inner: &mut Inner, slot: usize) {
    if !is_small(&inner.children[slot]) {
        return;
    }
    for left in [slot.checked_sub(1), Some(slot)].into_iter().flatten() {
        if left + 1 >= inner.children.len() {
            continue;
        }
        let separator = inner.separators.get(left);
        let merged = merge(&inner.children[left], separator, &inner.children[left + 1]);
        if let Some(merged) = merged {
            inner.children[left] = merged;
            inner.children.remove(left + 1);
            inner.separators = Arc::new(inner.separators.without(left));
            return;
        }
    }
}

fn is_small(child: &Child) -> bool {
    match &child.node {
        Node::Leaf(leaf) => {
            leaf.shape().count < MAX_KEYS / MERGE_BELOW && leaf.bytes().len() < MAX_BYTES / 2
        }
        Node::Inner(inner) => inner.children.len() < MAX_CHILDREN / MERGE_BELOW,
    }
}

fn merge(left: &Child, separator: &[u8], right: &Child) -> Option<Child> {
    match (&left.node, &right.node) {
        (Node::Leaf(left), Node::Leaf(right)) => {
            let counts = (left.shape().count, right.shape().count);
            let bytes = left.bytes().len() + right.bytes().len();
            if counts.0 + counts.1 > MAX_KEYS / 4 * 3 || bytes > MAX_BYTES / 4 * 3 {
                return None;
            }
            let mut draft = Draft::new();
            draft.push_rows(left, 0..counts.0);
            draft.push_rows(right, 0..counts.1);
            let (leaf, summary) = draft.pack(0..draft.len());
            Some(Child { node: Node::Leaf(leaf), summary })
        }
        (Node::Inner(left), Node::Inner(right)) => {
            if left.children.len() + right.children.len() > MAX_CHILDREN / 4 * 3 {
                return None;
            }
            let separators = left.separators.iter().chain([separator]);
            let separators = Separators::new(separators.chain(right.separators.iter()));
            let children = left.children.iter().chain(&right.children).cloned().collect();
            Some(Inner { separators: Arc::new(separators), children }.into_child())
        }
        (Node::Leaf(_), Node::Inner(_)) | (Node::Inner(_), Node::Leaf(_)) => {
            unreachable!("all leaves are at one depth")
        }
    }
}
