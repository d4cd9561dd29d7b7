//! The headers of HTTP/2 frames in a stream of bytes that is cut anywhere (RFC 9113, section 4.1).

/// What a client sends first on an HTTP/2 connection.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Length, type, flags and stream id.
pub(super) const HEADER_BYTES: usize = 9;

/// Types of frames that matter here.
pub(super) mod kind {
    pub(in crate::edge) const DATA: u8 = 0x0;
    pub(in crate::edge) const HEADERS: u8 = 0x1;
    pub(in crate::edge) const RST_STREAM: u8 = 0x3;
    pub(in crate::edge) const PING: u8 = 0x6;
    pub(in crate::edge) const GOAWAY: u8 = 0x7;
}

/// Flags that matter here; both are the lowest bit, of different types.
pub(super) mod flag {
    pub(in crate::edge) const END_STREAM: u8 = 0x1;
    pub(in crate::edge) const ACK: u8 = 0x1;
}

/// One frame's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameHeader {
    /// Bytes that follow the header; 24 bits.
    pub(super) payload_len: usize,
    pub(super) kind: u8,
    pub(super) flags: u8,
    /// Without the reserved bit; 0 is the connection.
    pub(super) stream: u32,
}

impl FrameHeader {
    fn decode(bytes: [u8; HEADER_BYTES]) -> Self {
        let [l0, l1, l2, kind, flags, s0, s1, s2, s3] = bytes;
        Self {
            payload_len: u32::from_be_bytes([0, l0, l1, l2]) as usize,
            kind,
            flags,
            stream: u32::from_be_bytes([s0, s1, s2, s3]) & 0x7fff_ffff,
        }
    }

    pub(super) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// Finds the headers, and knows where it stands between them. Keeps nine bytes and no payload.
#[derive(Debug, Default)]
pub(super) struct FrameWalker {
    header: [u8; HEADER_BYTES],
    header_len: usize,
    /// Bytes of the present payload still to come; 0 while a header is read.
    payload_left: usize,
}

impl FrameWalker {
    /// Goes on by `data`, and tells `see` of every header that is complete with it.
    pub(super) fn walk(&mut self, mut data: &[u8], mut see: impl FnMut(FrameHeader)) {
        while !data.is_empty() {
            let skipped = self.payload_left.min(data.len());
            self.payload_left -= skipped;
            let rest = data.get(skipped..).unwrap_or_default();
            let taken = rest.len().min(HEADER_BYTES - self.header_len);
            let (head, rest) = rest.split_at(taken);
            self.header[self.header_len..][..taken].copy_from_slice(head);
            self.header_len += taken;
            if self.header_len == HEADER_BYTES {
                let header = FrameHeader::decode(self.header);
                self.header_len = 0;
                self.payload_left = header.payload_len;
                see(header);
            }
            data = rest;
        }
    }

    /// Bytes that certainly belong to the frame under way; 0 exactly between two frames. Once they
    /// have passed there may be more, as a header tells of its payload only when it is complete.
    pub(super) fn until_boundary(&self) -> usize {
        match (self.payload_left, self.header_len) {
            (0, 0) => 0,
            (0, have) => HEADER_BYTES - have,
            (left, _) => left,
        }
    }
}

/// What a client sends: HTTP/2 frames behind a preface, or something else, which is HTTP/1 then.
#[derive(Debug)]
pub(super) enum ClientBytes {
    /// So many bytes of the preface have come.
    Preface(usize),
    /// Not HTTP/2.
    Other,
    /// HTTP/2, beyond the preface.
    Frames(FrameWalker),
}

impl ClientBytes {
    /// As [`FrameWalker::walk`].
    pub(super) fn walk(&mut self, data: &[u8], see: impl FnMut(FrameHeader)) {
        match self {
            Self::Other => {}
            Self::Frames(frames) => frames.walk(data, see),
            Self::Preface(have) => {
                let expected = PREFACE.get(*have..).unwrap_or_default();
                let (now, rest) = data.split_at(data.len().min(expected.len()));
                if !expected.starts_with(now) {
                    *self = Self::Other;
                } else if now.len() < expected.len() {
                    *have += now.len();
                } else {
                    *self = Self::Frames(FrameWalker::default());
                    self.walk(rest, see);
                }
            }
        }
    }

    /// Whether it is HTTP/2, or may still become it.
    pub(super) fn may_be_http2(&self) -> bool {
        !matches!(self, Self::Other)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A frame with a payload that looks like frames itself.
    pub(in crate::edge) fn frame(kind: u8, flags: u8, stream: u32, len: usize) -> Vec<u8> {
        let [_, l0, l1, l2] = u32::try_from(len).unwrap().to_be_bytes();
        let mut bytes = vec![l0, l1, l2, kind, flags];
        bytes.extend(stream.to_be_bytes());
        bytes.extend([0, 0, 0, 6].iter().copied().cycle().take(len));
        bytes
    }

    /// The client's preface.
    pub(in crate::edge) fn preface() -> Vec<u8> {
        PREFACE.to_vec()
    }

    fn seen<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<FrameHeader>, ClientBytes) {
        let (mut bytes, mut headers) = (ClientBytes::Preface(0), Vec::new());
        for piece in pieces {
            bytes.walk(piece, |header| headers.push(header));
        }
        (headers, bytes)
    }

    fn header(kind: u8, flags: u8, stream: u32, payload_len: usize) -> FrameHeader {
        FrameHeader { payload_len, kind, flags, stream }
    }

    #[test]
    fn headers_are_found_wherever_the_stream_is_cut() {
        let stream = [
            preface(),
            frame(4, 0, 0, 0),
            frame(kind::HEADERS, 4, 1, 300),
            frame(kind::DATA, flag::END_STREAM, 1, 7),
            frame(kind::PING, 0, 0, 8),
        ]
        .concat();
        let expected =
            [header(4, 0, 0, 0), header(1, 4, 1, 300), header(0, 1, 1, 7), header(6, 0, 0, 8)];
        for cut in 0..=stream.len() {
            let (left, right) = stream.split_at(cut);
            assert_eq!(seen([left, right]).0, expected, "cut at {cut}");
        }
        for size in 1..=stream.len() {
            assert_eq!(seen(stream.chunks(size)).0, expected, "in pieces of {size}");
        }
    }

    #[test]
    fn the_reserved_bit_is_not_part_of_the_stream_id() {
        let bytes = [preface(), frame(kind::HEADERS, 0, 0x8000_0003, 0)].concat();
        assert_eq!(seen([&*bytes]).0, [header(kind::HEADERS, 0, 3, 0)]);
    }

    #[test]
    fn http1_has_no_frames() {
        for text in ["GET / HTTP/1.1\r\n\r\n", "PRI * HTTP/1.1\r\n\r\n", "PUT"] {
            for size in 1..=text.len() {
                let (headers, bytes) = seen(text.as_bytes().chunks(size));
                assert_eq!(headers, []);
                assert!(matches!(bytes, ClientBytes::Other), "{text:?} in pieces of {size}");
            }
        }
        let half = &preface()[..10];
        assert!(matches!(seen([half]).1, ClientBytes::Preface(10)));
    }

    proptest! {
        /// Any frames, cut anywhere: every header is seen once and in order, and the walker knows
        /// after each byte whether it stands between two frames.
        #[test]
        fn any_frames_cut_anywhere(
            frames in prop::collection::vec((any::<u8>(), any::<u8>(), any::<u32>(), 0_usize..600), 0..20),
            sizes in prop::collection::vec(1_usize..700, 1..8),
        ) {
            let bytes: Vec<Vec<u8>> =
                frames.iter().map(|(kind, flags, stream, len)| frame(*kind, *flags, *stream, *len)).collect();
            let expected: Vec<FrameHeader> = frames
                .iter()
                .map(|(kind, flags, stream, len)| header(*kind, *flags, stream & 0x7fff_ffff, *len))
                .collect();
            let stream = bytes.concat();
            let (mut walker, mut found, mut rest) = (FrameWalker::default(), Vec::new(), &*stream);
            for size in sizes.iter().cycle() {
                if rest.is_empty() { break }
                let (piece, after) = rest.split_at(rest.len().min(*size));
                walker.walk(piece, |header| found.push(header));
                rest = after;
            }
            prop_assert_eq!(&found, &expected);
            prop_assert_eq!(walker.until_boundary(), 0);

            let mut walker = FrameWalker::default();
            for frame in &bytes {
                prop_assert_eq!(walker.until_boundary(), 0);
                for at in 1..=frame.len() {
                    walker.walk(&frame[at - 1..at], |_| {});
                    let left = frame.len() - at;
                    let known = if at < HEADER_BYTES { HEADER_BYTES - at } else { left };
                    prop_assert_eq!(walker.until_boundary(), known);
                }
            }
        }
    }
}
