//! Telling systemd that the member serves (`Type=notify`; the protocol is in `sd_notify(3)`).

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Sends `READY=1` to the socket that systemd names in `NOTIFY_SOCKET`: a path, or an abstract name
/// behind an `@`.
pub fn notify_ready(socket: &OsStr) -> io::Result<()> {
    let sender = UnixDatagram::unbound()?;
    let sent = sender.send_to_addr(b"READY=1", &address(socket)?)?;
    debug_assert_eq!(sent, b"READY=1".len(), "a datagram goes out whole");
    Ok(())
}

fn address(socket: &OsStr) -> io::Result<SocketAddr> {
    match socket.as_bytes() {
        [b'/', ..] => SocketAddr::from_pathname(socket),
        [b'@', name @ ..] => in_no_folder(name),
        _other => Err(io::Error::new(io::ErrorKind::Unsupported, "neither a path nor an @name")),
    }
}

#[cfg(target_os = "linux")]
fn in_no_folder(name: &[u8]) -> io::Result<SocketAddr> {
    use std::os::linux::net::SocketAddrExt;
    SocketAddr::from_abstract_name(name)
}

#[cfg(not(target_os = "linux"))]
fn in_no_folder(_name: &[u8]) -> io::Result<SocketAddr> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "only Linux has abstract names"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn an_abstract_name_is_reached() {
        use std::os::linux::net::SocketAddrExt;
        let name = format!("vetch-notify-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let systemd = UnixDatagram::bind_addr(&address).unwrap();
        notify_ready(OsStr::new(&format!("@{name}"))).unwrap();
        let mut message = [0; 32];
        let len = systemd.recv(&mut message).unwrap();
        assert_eq!(&message[..len], b"READY=1");
    }

    #[test]
    fn a_socket_that_is_not_there_is_an_error() {
        for socket in ["", "relative", "/nonexistent/notify", "vsock:1:2"] {
            assert!(notify_ready(OsStr::new(socket)).is_err(), "{socket}");
        }
    }
}
