//! Which of many ranges contain a key: an AVL tree by start, each node knowing the largest end below
//! it, so that a lookup leaves out whole subtrees that end before the key.

#![expect(
    clippy::ref_option,
    clippy::unnecessary_box_returns,
    reason = "a link is an optional box, taken out of its parent and put back"
)]

use std::cmp::Ordering;
use std::ops::Bound;

use bytes::Bytes;
use vetch_storage::mvcc::key_range::KeyRange;

/// A set of distinct ranges, each with a value.
///
/// **Invariants:** in-order by range; heights of siblings differ by one at the most; `max_end` is the
/// largest end in the subtree.
#[derive(Debug)]
pub struct IntervalTree<V> {
    root: Link<V>,
}

impl<V> Default for IntervalTree<V> {
    fn default() -> Self {
        Self { root: None }
    }
}

type Link<V> = Option<Box<Node<V>>>;

#[derive(Debug)]
struct Node<V> {
    range: Span,
    value: V,
    max_end: End,
    height: u32,
    left: Link<V>,
    right: Link<V>,
}

/// Where a range ends; the open end is the largest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    Before(Bytes),
    Open,
}

impl End {
    fn is_after(&self, key: &[u8]) -> bool {
        match self {
            Self::Before(end) => key < end.as_ref(),
            Self::Open => true,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Span {
    start: Bytes,
    end: End,
}

impl Span {
    fn new(range: &KeyRange) -> Self {
        let end = match range.end() {
            Bound::Excluded(end) => End::Before(Bytes::copy_from_slice(end)),
            Bound::Unbounded => End::Open,
            // A single key ends before its successor.
            Bound::Included(only) => End::Before([only, &[0]].concat().into()),
        };
        Self { start: range.start().clone(), end }
    }
}

fn height<V>(link: &Link<V>) -> u32 {
    link.as_ref().map_or(0, |node| node.height)
}

impl<V> Node<V> {
    fn update(&mut self) {
        self.height = 1 + height(&self.left).max(height(&self.right));
        self.max_end = [&self.left, &self.right]
            .into_iter()
            .flatten()
            .map(|child| &child.max_end)
            .chain([&self.range.end])
            .max()
            .expect("the node's own end")
            .clone();
    }
}

fn rotate_right<V>(mut node: Box<Node<V>>) -> Box<Node<V>> {
    let Some(mut left) = node.left.take() else { return node };
    node.left = left.right.take();
    node.update();
    left.right = Some(node);
    left.update();
    left
}

fn rotate_left<V>(mut node: Box<Node<V>>) -> Box<Node<V>> {
    let Some(mut right) = node.right.take() else { return node };
    node.right = right.left.take();
    node.update();
    right.left = Some(node);
    right.update();
    right
}

fn balance<V>(mut node: Box<Node<V>>) -> Box<Node<V>> {
    node.update();
    let (left, right) = (height(&node.left), height(&node.right));
    if left > right + 1 {
        node.left = node.left.map(|child| {
            if height(&child.left) < height(&child.right) { rotate_left(child) } else { child }
        });
        rotate_right(node)
    } else if right > left + 1 {
        node.right = node.right.map(|child| {
            if height(&child.right) < height(&child.left) { rotate_right(child) } else { child }
        });
        rotate_left(node)
    } else {
        node
    }
}

impl<V: Default> IntervalTree<V> {
    /// The value of a range, made if need be.
    pub fn entry(&mut self, range: &KeyRange) -> &mut V {
        let span = Span::new(range);
        self.root = Some(insert(self.root.take(), &span));
        find(&mut self.root, &span).expect("just inserted")
    }

    /// The value of a range.
    pub fn get_mut(&mut self, range: &KeyRange) -> Option<&mut V> {
        find(&mut self.root, &Span::new(range))
    }

    /// Removes a range.
    pub fn remove(&mut self, range: &KeyRange) {
        self.root = remove(self.root.take(), &Span::new(range));
    }

    /// Calls `visit` with the value of every range that contains `key`.
    pub fn containing<'a>(&'a self, key: &[u8], visit: &mut impl FnMut(&'a V)) {
        containing(&self.root, key, visit);
    }

    /// Whether there is no range.
    pub fn is_empty(&self) -> bool {
        self.root.is_none()
    }
}

fn insert<V: Default>(link: Link<V>, span: &Span) -> Box<Node<V>> {
    let Some(mut node) = link else {
        return Box::new(Node {
            range: span.clone(),
            value: V::default(),
            max_end: span.end.clone(),
            height: 1,
            left: None,
            right: None,
        });
    };
    match span.cmp(&node.range) {
        Ordering::Less => node.left = Some(insert(node.left.take(), span)),
        Ordering::Greater => node.right = Some(insert(node.right.take(), span)),
        Ordering::Equal => return node,
    }
    balance(node)
}

fn find<'a, V>(link: &'a mut Link<V>, span: &Span) -> Option<&'a mut V> {
    let node = link.as_mut()?;
    match span.cmp(&node.range) {
        Ordering::Less => find(&mut node.left, span),
        Ordering::Greater => find(&mut node.right, span),
        Ordering::Equal => Some(&mut node.value),
    }
}

fn remove<V>(link: Link<V>, span: &Span) -> Link<V> {
    let mut node = link?;
    match span.cmp(&node.range) {
        Ordering::Less => node.left = remove(node.left.take(), span),
        Ordering::Greater => node.right = remove(node.right.take(), span),
        Ordering::Equal => {
            return match (node.left.take(), node.right.take()) {
                (None, child) | (child, None) => child,
                (left, Some(right)) => {
                    let (right, mut successor) = take_first(right);
                    successor.left = left;
                    successor.right = right;
                    Some(balance(successor))
                }
            };
        }
    }
    Some(balance(node))
}

/// Takes the first node out of a subtree.
fn take_first<V>(mut node: Box<Node<V>>) -> (Link<V>, Box<Node<V>>) {
    match node.left.take() {
        None => (node.right.take(), node),
        Some(left) => {
            let (rest, first) = take_first(left);
            node.left = rest;
            (Some(balance(node)), first)
        }
    }
}

fn containing<'a, V>(link: &'a Link<V>, key: &[u8], visit: &mut impl FnMut(&'a V)) {
    let Some(node) = link else { return };
    if !node.max_end.is_after(key) {
        return;
    }
    containing(&node.left, key, visit);
    if node.range.start.as_ref() <= key {
        if node.range.end.is_after(key) {
            visit(&node.value);
        }
        containing(&node.right, key, visit);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn check<V>(link: &Link<V>) -> (u32, Option<End>) {
        let Some(node) = link else { return (0, None) };
        let (left, left_end) = check(&node.left);
        let (right, right_end) = check(&node.right);
        assert!(left.abs_diff(right) <= 1, "balanced");
        assert_eq!(node.height, 1 + left.max(right));
        let end = [left_end, right_end, Some(node.range.end.clone())].into_iter().flatten().max();
        assert_eq!(Some(&node.max_end), end.as_ref());
        (node.height, end)
    }

    fn key() -> impl Strategy<Value = Bytes> {
        proptest::collection::vec(0u8..4, 1..4).prop_map(Bytes::from)
    }

    fn range() -> impl Strategy<Value = KeyRange> {
        (key(), prop_oneof![Just(Bytes::new()), Just(Bytes::from_static(&[0])), key()])
            .prop_map(|(start, end)| KeyRange::new(start, end))
    }

    proptest! {
        #[test]
        fn finds_what_a_list_of_ranges_finds(
            steps in proptest::collection::vec((range(), any::<bool>()), 1..80),
            keys in proptest::collection::vec(key(), 1..20),
        ) {
            let mut tree = IntervalTree::<usize>::default();
            let mut model = BTreeMap::<Span, (KeyRange, usize)>::new();
            for (number, (range, add)) in steps.into_iter().enumerate() {
                if add {
                    *tree.entry(&range) = number;
                    model.insert(Span::new(&range), (range, number));
                } else {
                    tree.remove(&range);
                    model.remove(&Span::new(&range));
                }
                check(&tree.root);
            }
            for key in keys {
                let mut found = Vec::new();
                tree.containing(&key, &mut |value| found.push(*value));
                found.sort_unstable();
                let mut expected: Vec<usize> = model
                    .values()
                    .filter(|(range, _)| range.contains(&key))
                    .map(|(_, number)| *number)
                    .collect();
                expected.sort_unstable();
                prop_assert_eq!(found, expected);
            }
        }
    }
}
