//! Accepting connections, and letting go of those that have been idle for too long.

use std::cmp::Reverse;
use std::io::{self, ErrorKind, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::EventFd;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, bind as bind_socket, listen, setsockopt,
    socket, sockopt,
};
use nix::sys::time::TimeSpec;

use super::conn::Conn;
use super::{ACCEPT_REST_NS, LISTENER, Reader, WAKE, receive, timeout_until};
use crate::link::Link;
use crate::{SimError, clock};

/// A listening socket whose connections inherit `TCP_NODELAY` and the kernel's receive stamps.
///
/// By hand instead of [`TcpListener::bind`]: the options must be set before the first connection, and a
/// burst of thousands needs the longest backlog there is.
pub(crate) fn bind(addr: SocketAddr) -> Result<TcpListener, SimError> {
    let open = || -> nix::Result<TcpListener> {
        let family = if addr.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        let fd = socket(family, SockType::Stream, flags, None)?;
        setsockopt(&fd, sockopt::ReuseAddr, &true)?;
        setsockopt(&fd, sockopt::TcpNoDelay, &true)?;
        // Without it the truth log has no `kernel_ns`, and says so; no reason not to serve.
        let _ = setsockopt(&fd, sockopt::ReceiveTimestampns, &true);
        bind_socket(fd.as_raw_fd(), &SockaddrStorage::from(addr))?;
        listen(&fd, Backlog::MAXALLOWABLE)?;
        Ok(TcpListener::from(fd))
    };
    open().map_err(|source| SimError::Listen { addr, source: source.into() })
}

/// Waits until the kernel stamps packets: it begins to some time after the first socket asked for it, and
/// the first requests would go without. Gives up after 50 ms; the log then has nulls.
pub(crate) fn await_stamps() -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let mut sender = TcpStream::connect(listener.local_addr()?)?;
    let (receiver, _) = listener.accept()?;
    setsockopt(&receiver, sockopt::ReceiveTimestampns, &true)?;
    let (mut scratch, mut control) = ([0; 64], nix::cmsg_space!(TimeSpec));
    for _ in 0..50 {
        sender.write_all(b"x")?;
        if let Ok((_, Some(_))) = receive(&receiver, &mut scratch, &mut control) {
            break;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// The reader's epoll, with the listener and the bell in it.
pub(crate) fn open_epoll(listener: &TcpListener, wake: &EventFd) -> Result<Epoll, SimError> {
    let open = || -> nix::Result<Epoll> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(listener, EpollEvent::new(EpollFlags::EPOLLIN, LISTENER))?;
        epoll.add(wake, EpollEvent::new(EpollFlags::EPOLLIN, WAKE))?;
        Ok(epoll)
    };
    open().map_err(|source| SimError::System { what: "epoll", source: source.into() })
}

impl Reader {
    /// Accepts all there are.
    pub(super) fn accept(&mut self) {
        loop {
            match self.listener.accept() {
                Ok((socket, _)) => {
                    let now = clock::now();
                    let slot = self.free.pop().unwrap_or_else(|| {
                        self.conns.push(None);
                        (self.conns.len() - 1) as u32
                    });
                    let link = Arc::new(Link::new(socket, self.next_conn, slot, now));
                    // Writability is asked for from the start: edges come only after a socket was full,
                    // so it costs nothing until then, and no system call when it matters.
                    let flags = EpollFlags::EPOLLIN
                        | EpollFlags::EPOLLOUT
                        | EpollFlags::EPOLLRDHUP
                        | EpollFlags::EPOLLET;
                    if let Err(error) = self.epoll.add(&link.socket, EpollEvent::new(flags, u64::from(slot)))
                    {
                        self.rest(&format!("a connection cannot be watched: {error}"));
                        self.free.push(slot);
                        return;
                    }
                    if let Some(keep_alive) = self.shared.options.keep_alive {
                        self.timers.push(Reverse((now + keep_alive.as_nanos() as u64, slot, link.id)));
                    }
                    self.conns[slot as usize] = Some(Conn::new(link, now));
                    self.next_conn += 1;
                    self.totals.connections += 1;
                    self.told_of_rest = false;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error)
                    if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::ConnectionAborted) => {}
                Err(error) => {
                    self.rest(&accept_problem(&error));
                    return;
                }
            }
        }
    }

    /// Stops accepting for a while: the listener stays readable, and epoll would spin on it.
    fn rest(&mut self, why: &str) {
        if !self.told_of_rest {
            (self.shared.options.notice)(why);
            self.told_of_rest = true;
        }
        self.totals.accept_failures += 1;
        if self.accept_again.is_none() && self.epoll.delete(&self.listener).is_ok() {
            self.accept_again = Some(clock::now() + ACCEPT_REST_NS);
        }
    }

    pub(super) fn timeout(&self) -> EpollTimeout {
        let timer = self.timers.peek().map(|Reverse((due, ..))| *due);
        timeout_until([timer, self.accept_again].into_iter().flatten().min())
    }

    /// Does what its time has come for.
    pub(super) fn on_time(&mut self) {
        if self.timers.is_empty() && self.accept_again.is_none() {
            return;
        }
        let now = clock::now();
        if self.accept_again.is_some_and(|due| due <= now) {
            self.accept_again = None;
            let event = EpollEvent::new(EpollFlags::EPOLLIN, LISTENER);
            if self.epoll.add(&self.listener, event).is_err() {
                self.accept_again = Some(now + ACCEPT_REST_NS);
            }
        }
        while let Some(&Reverse((due, slot, id))) = self.timers.peek() {
            if due > now {
                return;
            }
            self.timers.pop();
            let known = self.conns[slot as usize].as_ref().filter(|conn| conn.link.id == id);
            let Some(conn) = known else { continue };
            if let Some(until) = conn.closing {
                // The peer had its time to read the last response; or this was the idle timer.
                if until <= now {
                    self.drop_conn(slot);
                }
                continue;
            }
            let Some(keep_alive) = self.shared.options.keep_alive else { continue };
            // While a response is on its way or a request half read, the time has not begun.
            let since = conn.link.idle_since().filter(|_| !conn.is_mid_request()).unwrap_or(now);
            let due = since + keep_alive.as_nanos() as u64;
            if due <= now {
                self.close(slot);
            } else {
                self.timers.push(Reverse((due, slot, id)));
            }
        }
    }
}

/// The line for the operator.
fn accept_problem(error: &io::Error) -> String {
    let full = [nix::errno::Errno::EMFILE as i32, nix::errno::Errno::ENFILE as i32];
    if error.raw_os_error().is_some_and(|code| full.contains(&code)) {
        format!("no file descriptor left for a new connection ({error}): raise the limit with `ulimit -n`")
    } else {
        format!("a connection cannot be accepted: {error}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::socket::getsockopt;

    #[test]
    fn connections_inherit_what_the_listener_has() {
        let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        assert!(getsockopt(&accepted, sockopt::TcpNoDelay).unwrap());
        assert!(getsockopt(&accepted, sockopt::ReceiveTimestampns).unwrap());
    }

    #[test]
    fn a_taken_address_is_an_error_that_names_it() {
        let first = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let addr = first.local_addr().unwrap();
        assert!(bind(addr).unwrap_err().to_string().contains(&addr.to_string()));
    }
}
