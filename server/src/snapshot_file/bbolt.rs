//! Writes a bbolt file in one pass: keys come in order, pages go out in order, and what is kept in
//! memory is one open page per level of the tree.

use std::io::{self, Seek, SeekFrom, Write};

use super::page::{
    self, BranchElement, ELEMENT_BYTES, HEADER_BYTES, LeafElement, PAGE_BYTES, PageId,
};

/// Fullest element count of a page; bbolt's own limit is 65,535.
const MAX_ELEMENTS: usize = 4096;
/// The two meta pages and the freelist.
const RESERVED_PAGES: u64 = 3;
const FREELIST: PageId = PageId(2);

/// The file in the making.
///
/// **Invariant:** buckets are written one after the other, in ascending order of name; the keys of a
/// bucket in ascending order.
#[derive(Debug)]
pub struct BboltWriter<W> {
    file: W,
    next_page: PageId,
    buckets: Vec<LeafElement>,
    open: Option<OpenBucket>,
}

#[derive(Debug)]
struct OpenBucket {
    name: Vec<u8>,
    last_key: Option<Vec<u8>>,
    leaf: Vec<LeafElement>,
    leaf_bytes: usize,
    /// Open branch pages, lowest level first.
    branches: Vec<OpenBranch>,
}

#[derive(Debug, Default)]
struct OpenBranch {
    elements: Vec<BranchElement>,
    bytes: usize,
}

impl<W: Write + Seek> BboltWriter<W> {
    /// Begins a file. The first pages are written last, when their content is known.
    pub fn new(mut file: W) -> io::Result<Self> {
        file.seek(SeekFrom::Start(RESERVED_PAGES * PAGE_BYTES as u64))?;
        Ok(Self { file, next_page: PageId(RESERVED_PAGES), buckets: Vec::new(), open: None })
    }

    /// Ends the open bucket, if any, and begins the next.
    pub fn bucket(&mut self, name: &str) -> io::Result<()> {
        self.close_bucket()?;
        let name = name.as_bytes().to_vec();
        assert!(
            self.buckets.last().is_none_or(|last| last.key < name),
            "buckets come in ascending order of name"
        );
        self.open = Some(OpenBucket {
            name,
            last_key: None,
            leaf: Vec::new(),
            leaf_bytes: 0,
            branches: Vec::new(),
        });
        Ok(())
    }

    /// Adds a pair to the open bucket.
    pub fn put(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        let bucket = self.open.as_mut().expect("a bucket was begun");
        assert!(
            bucket.last_key.as_deref().is_none_or(|last| last < key),
            "the keys of a bucket come in ascending order"
        );
        bucket.last_key = Some(key.to_vec());
        let bytes = ELEMENT_BYTES + key.len() + value.len();
        let is_full = HEADER_BYTES + bucket.leaf_bytes + bytes > PAGE_BYTES;
        if (is_full && !bucket.leaf.is_empty()) || bucket.leaf.len() == MAX_ELEMENTS {
            self.close_leaf()?;
        }
        let bucket = self.open.as_mut().expect("closing a leaf keeps the bucket open");
        bucket.leaf_bytes += bytes;
        bucket.leaf.push(LeafElement {
            key: key.to_vec(),
            value: value.to_vec(),
            is_bucket: false,
        });
        Ok(())
    }

    /// Ends the file; gives it back with its length in bytes.
    pub fn finish(mut self) -> io::Result<(W, u64)> {
        self.close_bucket()?;
        let buckets = std::mem::take(&mut self.buckets);
        let root = self.write_leaf(&buckets)?;
        let pages = self.next_page.0;
        self.file.seek(SeekFrom::Start(0))?;
        for txid in 0..2 {
            let meta = page::meta(PageId(txid), root, FREELIST, pages, txid);
            self.file.write_all(&meta)?;
        }
        self.file.write_all(&page::empty_freelist(FREELIST))?;
        self.file.flush()?;
        Ok((self.file, pages * PAGE_BYTES as u64))
    }

    fn allocate(&mut self, pages: u64) -> PageId {
        let id = self.next_page;
        self.next_page = PageId(id.0 + pages);
        id
    }

    fn write_leaf(&mut self, elements: &[LeafElement]) -> io::Result<PageId> {
        let data: usize = elements.iter().map(|e| e.key.len() + e.value.len()).sum();
        let pages = page::pages_for(HEADER_BYTES + elements.len() * ELEMENT_BYTES + data);
        let id = self.allocate(pages);
        self.file.write_all(&page::leaf(id, elements))?;
        Ok(id)
    }

    fn close_leaf(&mut self) -> io::Result<()> {
        let bucket = self.open.as_mut().expect("a bucket was begun");
        let elements = std::mem::take(&mut bucket.leaf);
        bucket.leaf_bytes = 0;
        let first = elements.first().expect("a leaf is closed when it is full").key.clone();
        let id = self.write_leaf(&elements)?;
        self.add_child(0, BranchElement { key: first, child: id })
    }

    /// Adds a page to the branch above it, closing branches that are full on the way up.
    fn add_child(&mut self, mut level: usize, mut child: BranchElement) -> io::Result<()> {
        loop {
            let bucket = self.open.as_mut().expect("a bucket was begun");
            if bucket.branches.len() == level {
                bucket.branches.push(OpenBranch::default());
            }
            let branch = bucket.branches.get_mut(level).expect("the level was just made");
            let bytes = ELEMENT_BYTES + child.key.len();
            let is_full = HEADER_BYTES + branch.bytes + bytes > PAGE_BYTES;
            // Two children at least, however long their keys: a branch of one would never end.
            if !(is_full && branch.elements.len() >= 2) && branch.elements.len() < MAX_ELEMENTS {
                branch.bytes += bytes;
                branch.elements.push(child);
                return Ok(());
            }
            let full = std::mem::take(branch);
            branch.bytes = bytes;
            branch.elements.push(child);
            child = self.write_branch(&full.elements)?;
            level += 1;
        }
    }

    fn write_branch(&mut self, elements: &[BranchElement]) -> io::Result<BranchElement> {
        let data: usize = elements.iter().map(|e| e.key.len()).sum();
        let pages = page::pages_for(HEADER_BYTES + elements.len() * ELEMENT_BYTES + data);
        let id = self.allocate(pages);
        self.file.write_all(&page::branch(id, elements))?;
        let first = elements.first().expect("a branch is written with its children").key.clone();
        Ok(BranchElement { key: first, child: id })
    }

    fn close_bucket(&mut self) -> io::Result<()> {
        let Some(bucket) = self.open.as_mut() else { return Ok(()) };
        let root = if bucket.branches.is_empty() {
            let elements = std::mem::take(&mut bucket.leaf);
            self.write_leaf(&elements)?
        } else {
            if !bucket.leaf.is_empty() {
                self.close_leaf()?;
            }
            self.close_branches()?
        };
        let bucket = self.open.take().expect("checked above");
        self.buckets.push(LeafElement {
            key: bucket.name,
            value: page::bucket_header(root),
            is_bucket: true,
        });
        Ok(())
    }

    /// Writes every open branch, lowest first; the last one is the root.
    fn close_branches(&mut self) -> io::Result<PageId> {
        let mut level = 0;
        loop {
            let bucket = self.open.as_mut().expect("a bucket was begun");
            let is_top = level + 1 == bucket.branches.len();
            let branch = std::mem::take(bucket.branches.get_mut(level).expect("level exists"));
            if let (true, [only]) = (is_top, branch.elements.as_slice()) {
                return Ok(only.child);
            }
            let written = self.write_branch(&branch.elements)?;
            if is_top {
                return Ok(written.child);
            }
            level += 1;
            self.add_child(level, written)?;
        }
    }
}
