//! Payloads of records: entries, votes and positions as bytes.
//!
//! An entry is its term and index, a byte for what it carries, and that. A membership is the length of
//! its encoded sets, those, a byte for whether there is a member record, and that. Numbers are little-endian; decoders
//! refuse what is too short, too long or unknown.

use bytes::Bytes;
use openraft::vote::RaftLeaderId;

use crate::types::membership::{decode_membership, encode_membership};
use crate::types::{CommittedLeaderId, EncodedProposal, Entry, LeaderId, Payload, RaftLogId, Vote};

const BLANK: u8 = 0;
const PROPOSAL: u8 = 1;
const MEMBERSHIP: u8 = 2;

/// Bytes of an entry before what it carries.
const ENTRY_HEAD: usize = 17;

pub(crate) fn encode_entry(entry: &Entry, out: &mut Vec<u8>) {
    encode_log_id(&entry.log_id, out);
    match &entry.payload {
        Payload::Blank => out.push(BLANK),
        Payload::Proposal(EncodedProposal(bytes)) => {
            out.push(PROPOSAL);
            out.extend_from_slice(bytes);
        }
        Payload::Membership { membership, record } => {
            out.push(MEMBERSHIP);
            let sets = encode_membership(membership);
            let len = u32::try_from(sets.len()).expect("an entry is below 4 GiB");
            out.extend_from_slice(&len.to_le_bytes());
            out.extend_from_slice(&sets);
            out.push(u8::from(record.is_some()));
            out.extend_from_slice(record.as_deref().unwrap_or_default());
        }
    }
}

/// Bytes that an entry's record payload takes, near enough for a budget.
pub(crate) fn entry_size(entry: &Entry) -> usize {
    let carried = match &entry.payload {
        Payload::Blank => 0,
        Payload::Proposal(EncodedProposal(bytes)) => bytes.len(),
        Payload::Membership { record, .. } => 256 + record.as_ref().map_or(0, Bytes::len),
    };
    ENTRY_HEAD + carried
}

/// The entry, sharing `payload`'s memory.
pub(crate) fn decode_entry(payload: &Bytes) -> Option<Entry> {
    let log_id = decode_log_id(payload.get(..16)?)?;
    let rest = payload.slice(ENTRY_HEAD.min(payload.len())..);
    let payload = match *payload.get(16)? {
        BLANK if rest.is_empty() => Payload::Blank,
        PROPOSAL => Payload::Proposal(EncodedProposal(rest)),
        MEMBERSHIP => {
            let mut input = &rest[..];
            let len = take_u32(&mut input)? as usize;
            let (sets, rest_of_entry) = input.split_at_checked(len)?;
            let membership = decode_membership(rest.slice_ref(sets)).ok()?;
            input = rest_of_entry;
            let (flag, record) = input.split_first()?;
            let record = match flag {
                0 if record.is_empty() => None,
                1 => Some(rest.slice_ref(record)),
                _ => return None,
            };
            Payload::Membership { membership, record }
        }
        _ => return None,
    };
    Some(Entry { log_id, payload })
}

/// Only the identity of an encoded entry.
pub(super) fn decode_entry_id(payload: &[u8]) -> Option<RaftLogId> {
    decode_log_id(payload.get(..16)?)
}

pub(super) fn encode_log_id(id: &RaftLogId, out: &mut Vec<u8>) {
    out.extend_from_slice(&id.leader_id.term.to_le_bytes());
    out.extend_from_slice(&id.index.to_le_bytes());
}

pub(super) fn decode_log_id(bytes: &[u8]) -> Option<RaftLogId> {
    let bytes: &[u8; 16] = bytes.try_into().ok()?;
    let mut input = &bytes[..];
    let (term, index) = (take_u64(&mut input)?, take_u64(&mut input)?);
    Some(RaftLogId::new(CommittedLeaderId::new(term), index))
}

pub(super) fn encode_position(id: Option<&RaftLogId>, out: &mut Vec<u8>) {
    if let Some(id) = id {
        encode_log_id(id, out);
    }
}

/// A position; nothing at all is "before the log".
#[expect(clippy::option_option, reason = "unreadable, or before the log, or a position")]
pub(super) fn decode_position(bytes: &[u8]) -> Option<Option<RaftLogId>> {
    if bytes.is_empty() { Some(None) } else { decode_log_id(bytes).map(Some) }
}

pub(super) fn encode_vote(vote: &Vote, out: &mut Vec<u8>) {
    out.extend_from_slice(&vote.leader_id.term.to_le_bytes());
    out.extend_from_slice(&vote.leader_id.voted_for.to_le_bytes());
    out.push(u8::from(vote.committed));
}

pub(super) fn decode_vote(bytes: &[u8]) -> Option<Vote> {
    let bytes: &[u8; 17] = bytes.try_into().ok()?;
    let mut input = &bytes[..];
    let (term, node) = (take_u64(&mut input)?, take_u64(&mut input)?);
    let committed = match input {
        [0] => false,
        [1] => true,
        _ => return None,
    };
    Some(Vote { leader_id: LeaderId::new(term, node), committed })
}

fn take_u32(input: &mut &[u8]) -> Option<u32> {
    let (number, rest) = input.split_first_chunk()?;
    *input = rest;
    Some(u32::from_le_bytes(*number))
}

fn take_u64(input: &mut &[u8]) -> Option<u64> {
    let (number, rest) = input.split_first_chunk()?;
    *input = rest;
    Some(u64::from_le_bytes(*number))
}
