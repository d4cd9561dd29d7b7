//! A socket pair of few bytes, so that whatever is written is cut anywhere.

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::super::frames::tests::{frame, preface};
use super::*;

const MIN_TIME: Duration = Duration::from_secs(5);

fn pair(room: usize) -> (DuplexStream, Policed<DuplexStream>) {
    let (client, server) = duplex(room);
    (client, Policed::new(server, Peer::Unix, Some(MIN_TIME)))
}

fn ping() -> Vec<u8> {
    frame(kind::PING, 0, 0, 8)
}

fn answer(stream: u32, len: usize) -> Vec<u8> {
    frame(kind::DATA, 0, stream, len)
}

/// As the library does: reads all there is, and writes `answers` meanwhile; until the connection ends.
async fn serve(socket: Policed<DuplexStream>, answers: Vec<u8>) -> io::ErrorKind {
    let (mut reader, mut writer) = tokio::io::split(socket);
    let read = async {
        let mut buf = [0; 64];
        loop {
            match reader.read(&mut buf).await {
                Ok(0) => return io::ErrorKind::UnexpectedEof,
                Ok(_) => {}
                Err(error) => return error.kind(),
            }
        }
    };
    let write = async {
        let _ended = writer.write_all(&answers).await;
        std::future::pending::<()>().await;
    };
    tokio::select! { kind = read => kind, () = write => unreachable!("never ends") }
}

#[tokio::test(start_paused = true)]
async fn four_fast_pings_get_goaway_and_the_end() {
    let (mut client, server) = pair(1 << 16);
    let served = tokio::spawn(serve(server, Vec::new()));
    let sent = [preface(), frame(kind::HEADERS, 4, 5, 20), ping().repeat(4)].concat();
    client.write_all(&sent).await.unwrap();
    let mut received = Vec::new();
    client.read_to_end(&mut received).await.unwrap();
    let payload = [&[0, 0, 0, 5, 0, 0, 0, 0xb], DEBUG_DATA].concat();
    assert_eq!(received, [&[0, 0, 22, kind::GOAWAY, 0, 0, 0, 0, 0], &*payload].concat());
    drop(client);
    assert_eq!(served.await.unwrap(), io::ErrorKind::ConnectionAborted);
}

#[tokio::test(start_paused = true)]
async fn three_fast_pings_are_borne() {
    let (mut client, server) = pair(1 << 16);
    let served = tokio::spawn(serve(server, Vec::new()));
    let sent = [preface(), frame(kind::HEADERS, 4, 1, 20), ping().repeat(3)].concat();
    client.write_all(&sent).await.unwrap();
    for _minute in 0..100 {
        sleep(Duration::from_secs(30)).await;
        client.write_all(&ping()).await.unwrap();
    }
    drop(client);
    assert_eq!(served.await.unwrap(), io::ErrorKind::UnexpectedEof);
}

#[tokio::test(start_paused = true)]
async fn without_a_policy_nobody_is_sent_away() {
    let (mut client, server) = duplex(1 << 16);
    let served = tokio::spawn(serve(Policed::new(server, Peer::Unix, None), Vec::new()));
    client.write_all(&[preface(), ping().repeat(100)].concat()).await.unwrap();
    drop(client);
    assert_eq!(served.await.unwrap(), io::ErrorKind::UnexpectedEof);
}

/// Through a socket that takes `room` bytes at a time, with answers under way when the pings come:
/// what the client gets is whole frames of the answers, then GOAWAY, then the end.
#[tokio::test(start_paused = true)]
async fn goaway_goes_between_frames() {
    let answers: Vec<u8> = (0..200).flat_map(|n| answer(1, n % 40)).collect();
    for room in 1..100 {
        let (mut client, server) = pair(room);
        let served = tokio::spawn(serve(server, answers.clone()));
        let sent = [preface(), frame(kind::HEADERS, 4, 1, 0)].concat();
        client.write_all(&sent).await.unwrap();
        let mut received = vec![0; 3 * room];
        client.read_exact(&mut received).await.unwrap();
        // An answer may go out between two pings and forgive them; so there are more than four, and
        // they stop once the server reads no further.
        let (mut reader, mut writer) = tokio::io::split(client);
        let flood = tokio::spawn(async move { while writer.write_all(&ping()).await.is_ok() {} });
        let read = tokio::time::timeout(Duration::from_mins(1), reader.read_to_end(&mut received));
        read.await.unwrap().unwrap();
        drop(reader);
        flood.abort();
        served.await.unwrap();

        let (mut walker, mut at, mut frames) = (FrameWalker::default(), 0, Vec::new());
        walker.walk(&received, |header| {
            frames.push((at, header.kind));
            at += HEADER_BYTES + header.payload_len;
        });
        assert_eq!((walker.until_boundary(), at), (0, received.len()), "room {room}");
        let (last_at, last) = *frames.last().unwrap();
        assert_eq!(last, kind::GOAWAY, "room {room}: {} frames", frames.len());
        assert!(answers.starts_with(&received[..last_at]), "room {room}");
        assert_eq!(frames.iter().filter(|(_, kind)| *kind == kind::GOAWAY).count(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_cannot_stay() {
    let (mut client, server) = pair(30);
    let served = tokio::spawn(serve(server, answer(1, 1000)));
    let sent = [preface(), frame(kind::HEADERS, 4, 1, 0)].concat();
    client.write_all(&sent).await.unwrap();
    let flood = tokio::spawn(async move { while client.write_all(&ping()).await.is_ok() {} });
    assert_eq!(served.await.unwrap(), io::ErrorKind::ConnectionAborted);
    flood.await.unwrap();
}

/// Streams: opened by HEADERS, ended by the server's `END_STREAM` or by a reset of either side.
#[tokio::test]
async fn open_streams_are_followed() {
    let (mut client, mut server) = pair(1 << 16);
    let opened: Vec<u8> =
        [1, 3, 5, 7].iter().flat_map(|n| frame(kind::HEADERS, 4, *n, 3)).collect();
    let sent = [
        preface(),
        opened,
        // Trailers and the client's own end leave a stream open.
        frame(kind::HEADERS, 5, 1, 0),
        frame(kind::RST_STREAM, 0, 3, 4),
    ];
    client.write_all(&sent.concat()).await.unwrap();
    let mut buf = [0; 1024];
    let _len = server.read(&mut buf).await.unwrap();
    let written =
        [frame(kind::HEADERS, 4, 1, 9), frame(kind::DATA, flag::END_STREAM, 5, 2)].concat();
    server.write_all(&written).await.unwrap();
    let mut open: Vec<u32> = server.open.iter().copied().collect();
    open.sort_unstable();
    assert_eq!((open, server.last_stream), (vec![1, 7], 7));
    let slices = [frame(kind::RST_STREAM, 0, 7, 4), frame(kind::HEADERS, 5, 1, 9)];
    let slices: Vec<IoSlice<'_>> = slices.iter().map(|bytes| IoSlice::new(bytes)).collect();
    let _written = server.write_vectored(&slices).await.unwrap();
    assert!(server.open.is_empty(), "{:?}", server.open);
}
