//! Pages of a bbolt file (format version 2): a 16-byte header, then elements, then their keys and
//! values. All numbers are little-endian, as bbolt writes them on the machines etcd runs on.

/// Bytes of a page. bbolt files carry their page size; this is the one of x86 and most arm64.
pub const PAGE_BYTES: usize = 4096;
/// Bytes of a page's header: id, flags, count, overflow.
pub const HEADER_BYTES: usize = 16;
/// Bytes of a leaf's or branch's element, beside its key and value.
pub const ELEMENT_BYTES: usize = 16;

const FLAG_BRANCH: u16 = 0x01;
const FLAG_LEAF: u16 = 0x02;
const FLAG_META: u16 = 0x04;
const FLAG_FREELIST: u16 = 0x10;
/// Marks a leaf element whose value is a bucket.
const ELEMENT_BUCKET: u32 = 0x01;

const MAGIC: u32 = 0xED0C_DAED;
const VERSION: u32 = 2;

/// A page's number: its offset in the file divided by the page size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PageId(pub u64);

/// An element of a leaf.
#[derive(Clone, Debug)]
pub struct LeafElement {
    /// The key.
    pub key: Vec<u8>,
    /// The value, or a bucket's 16-byte header.
    pub value: Vec<u8>,
    /// The value is a bucket.
    pub is_bucket: bool,
}

/// An element of a branch: the smallest key below `child`.
#[derive(Clone, Debug)]
pub struct BranchElement {
    /// The smallest key of the subtree.
    pub key: Vec<u8>,
    /// The subtree's root.
    pub child: PageId,
}

/// How many pages a body of this many bytes takes.
pub fn pages_for(bytes: usize) -> u64 {
    bytes.div_ceil(PAGE_BYTES).max(1) as u64
}

fn header(id: PageId, flags: u16, count: usize, pages: u64) -> Vec<u8> {
    let count = u16::try_from(count).expect("a page is closed long before 65,536 elements");
    let overflow = u32::try_from(pages - 1).expect("no element is larger than 4 GiB");
    let mut page = Vec::with_capacity(PAGE_BYTES);
    page.extend_from_slice(&id.0.to_le_bytes());
    page.extend_from_slice(&flags.to_le_bytes());
    page.extend_from_slice(&count.to_le_bytes());
    page.extend_from_slice(&overflow.to_le_bytes());
    page
}

fn pad(mut page: Vec<u8>, pages: u64) -> Vec<u8> {
    let bytes = usize::try_from(pages).expect("a page fits in memory") * PAGE_BYTES;
    assert!(page.len() <= bytes, "the page was sized for its elements");
    page.resize(bytes, 0);
    page
}

fn le32(bytes: usize) -> [u8; 4] {
    u32::try_from(bytes).expect("offsets within a page are below 4 GiB").to_le_bytes()
}

/// A leaf with its overflow pages.
pub fn leaf(id: PageId, elements: &[LeafElement]) -> Vec<u8> {
    let data: usize = elements.iter().map(|e| e.key.len() + e.value.len()).sum();
    let pages = pages_for(HEADER_BYTES + elements.len() * ELEMENT_BYTES + data);
    let mut page = header(id, FLAG_LEAF, elements.len(), pages);
    // An element's offset counts from the element itself.
    let mut offset = elements.len() * ELEMENT_BYTES;
    for element in elements {
        let flags = if element.is_bucket { ELEMENT_BUCKET } else { 0 };
        page.extend_from_slice(&flags.to_le_bytes());
        page.extend_from_slice(&le32(offset));
        page.extend_from_slice(&le32(element.key.len()));
        page.extend_from_slice(&le32(element.value.len()));
        offset = offset + element.key.len() + element.value.len() - ELEMENT_BYTES;
    }
    for element in elements {
        page.extend_from_slice(&element.key);
        page.extend_from_slice(&element.value);
    }
    pad(page, pages)
}

/// A branch with its overflow pages.
pub fn branch(id: PageId, elements: &[BranchElement]) -> Vec<u8> {
    let data: usize = elements.iter().map(|e| e.key.len()).sum();
    let pages = pages_for(HEADER_BYTES + elements.len() * ELEMENT_BYTES + data);
    let mut page = header(id, FLAG_BRANCH, elements.len(), pages);
    let mut offset = elements.len() * ELEMENT_BYTES;
    for element in elements {
        page.extend_from_slice(&le32(offset));
        page.extend_from_slice(&le32(element.key.len()));
        page.extend_from_slice(&element.child.0.to_le_bytes());
        offset = offset + element.key.len() - ELEMENT_BYTES;
    }
    for element in elements {
        page.extend_from_slice(&element.key);
    }
    pad(page, pages)
}

/// A freelist without entries: a file written in one pass has no free page.
pub fn empty_freelist(id: PageId) -> Vec<u8> {
    pad(header(id, FLAG_FREELIST, 0, 1), 1)
}

/// A bucket's value in its parent's leaf: its root, and a sequence that etcd does not use.
pub fn bucket_header(root: PageId) -> Vec<u8> {
    let mut value = root.0.to_le_bytes().to_vec();
    value.extend_from_slice(&0u64.to_le_bytes());
    value
}

/// One of the two meta pages; bbolt takes the valid one with the larger `txid`.
pub fn meta(id: PageId, root: PageId, freelist: PageId, pages: u64, txid: u64) -> Vec<u8> {
    let mut page = header(id, FLAG_META, 0, 1);
    let start = page.len();
    page.extend_from_slice(&MAGIC.to_le_bytes());
    page.extend_from_slice(&VERSION.to_le_bytes());
    page.extend_from_slice(&le32(PAGE_BYTES));
    page.extend_from_slice(&0u32.to_le_bytes());
    page.extend_from_slice(&bucket_header(root));
    page.extend_from_slice(&freelist.0.to_le_bytes());
    page.extend_from_slice(&pages.to_le_bytes());
    page.extend_from_slice(&txid.to_le_bytes());
    let checksum = fnv1a_64(page.get(start..).unwrap_or_default());
    page.extend_from_slice(&checksum.to_le_bytes());
    pad(page, 1)
}

/// FNV-1a, 64 bits: the meta pages' checksum.
fn fnv1a_64(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fnv_is_the_published_function() {
        assert_eq!(fnv1a_64(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a_64(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a_64(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn a_value_larger_than_a_page_overflows_into_whole_pages() {
        let element = LeafElement { key: b"k".to_vec(), value: vec![7; 10_000], is_bucket: false };
        let page = leaf(PageId(9), &[element]);
        assert_eq!(page.len(), 3 * PAGE_BYTES);
        assert_eq!(page[12..16], 2u32.to_le_bytes());
    }
}
