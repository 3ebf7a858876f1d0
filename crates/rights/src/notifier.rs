//! Telling the service manager how it is: sd_notify(3).
//!
//! In: `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID`, as systemd sets them. Out: datagrams of `NAME=value` lines. The
//! socket is connected at once, because Landlock would not let an abstract one (in containers) be connected later; and it
//! is this that the `sd-notify` crate cannot do, which opens one for each message and knows no abstract ones.
//!
//! Without `NOTIFY_SOCKET` nothing is sent and nothing fails. No call waits longer than half a second.

use std::env;
use std::ffi::OsStr;
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process;
use std::time::Duration;

/// A line to the service manager; by default there is none, and nothing is sent.
#[derive(Debug, Default)]
pub struct Notifier {
    manager: Option<Manager>,
    watchdog_period: Option<Duration>,
}

#[derive(Debug)]
struct Manager {
    socket: UnixDatagram,
    /// To connect again, should the manager have made a new socket; an abstract one cannot be.
    path: Option<PathBuf>,
}

impl Notifier {
    /// Connects to the manager that the environment names, if it names one. Call it before rights are dropped.
    ///
    /// # Errors
    ///
    /// If it names a socket that cannot be connected. The caller may go on with `Notifier::default()`, and should say so:
    /// the manager will give up waiting.
    pub fn from_env() -> io::Result<Self> {
        let Some(address) = env::var_os("NOTIFY_SOCKET") else { return Ok(Self::default()) };
        let own = process::id().to_string();
        let for_us = env::var("WATCHDOG_PID").map_or(true, |wanted| wanted == own);
        let limit_us = env::var("WATCHDOG_USEC").ok().filter(|_| for_us).and_then(|limit| limit.parse().ok());
        Self::connect(&address, limit_us.map(Duration::from_micros))
    }

    /// Connects to a manager by the address in `NOTIFY_SOCKET`, a path, or a name behind an `@`.
    fn connect(address: &OsStr, watchdog_limit: Option<Duration>) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        let path = match address.as_bytes() {
            [b'/', ..] => {
                socket.connect(address)?;
                Some(PathBuf::from(address))
            }
            [b'@', name @ ..] => {
                connect_abstract(&socket, name)?;
                None
            }
            _ => {
                let reason = format!("NOTIFY_SOCKET is {address:?}; only paths and @names are known");
                return Err(io::Error::new(ErrorKind::Unsupported, reason));
            }
        };
        socket.set_write_timeout(Some(LONGEST_WAIT))?;
        let watchdog_period = watchdog_limit.filter(|limit| !limit.is_zero()).map(|limit| limit / 2);
        Ok(Self { manager: Some(Manager { socket, path }), watchdog_period })
    }

    /// Whether anybody listens.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.manager.is_some()
    }

    /// How often [`ping`](Self::ping) must be called: half of the time after which the manager ends a process that does
    /// not. `None` if it keeps no watch.
    #[must_use]
    pub fn watchdog_period(&self) -> Option<Duration> {
        self.watchdog_period
    }

    /// Start-up, or a reload, is complete.
    ///
    /// # Errors
    ///
    /// If the manager cannot be told; so with all that follow.
    pub fn ready(&self) -> io::Result<()> {
        self.send("READY=1")
    }

    /// One line about how it is, shown by `systemctl status`. Line ends in it become spaces.
    ///
    /// # Errors
    ///
    /// If the manager cannot be told.
    pub fn status(&self, text: &str) -> io::Result<()> {
        if self.manager.is_none() {
            return Ok(());
        }
        self.send(&format!("STATUS={}", text.replace(['\n', '\r'], " ")))
    }

    /// All is well: only when every worker has moved since the last one.
    ///
    /// # Errors
    ///
    /// If the manager cannot be told.
    pub fn ping(&self) -> io::Result<()> {
        self.send("WATCHDOG=1")
    }

    /// A reload has begun; [`ready`](Self::ready) ends it, whether the new configuration was taken or not.
    ///
    /// # Errors
    ///
    /// If the manager cannot be told.
    pub fn reloading(&self) -> io::Result<()> {
        // Since systemd 253 the time must come with it.
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={}", monotonic_us()))
    }

    /// Shutting down has begun.
    ///
    /// # Errors
    ///
    /// If the manager cannot be told.
    pub fn stopping(&self) -> io::Result<()> {
        self.send("STOPPING=1")
    }

    fn send(&self, message: &str) -> io::Result<()> {
        let Some(manager) = &self.manager else { return Ok(()) };
        match (manager.socket.send(message.as_bytes()), &manager.path) {
            (Ok(_), _) => Ok(()),
            (Err(error), Some(path))
                if matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::NotConnected) =>
            {
                manager.socket.connect(path)?;
                manager.socket.send(message.as_bytes()).map(drop)
            }
            (Err(error), _) => Err(error),
        }
    }
}

#[cfg(target_os = "linux")]
fn connect_abstract(socket: &UnixDatagram, name: &[u8]) -> io::Result<()> {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::SocketAddr;

    socket.connect_addr(&SocketAddr::from_abstract_name(name)?)
}

#[cfg(not(target_os = "linux"))]
fn connect_abstract(_: &UnixDatagram, _: &[u8]) -> io::Result<()> {
    Err(ErrorKind::Unsupported.into())
}

#[cfg(target_os = "linux")]
fn monotonic_us() -> i64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec * 1_000_000 + now.tv_nsec / 1_000
}

#[cfg(not(target_os = "linux"))]
fn monotonic_us() -> i64 {
    0
}

/// A manager that does not read its socket must not stop the sensor.
const LONGEST_WAIT: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    struct FakeManager {
        socket: UnixDatagram,
        folder: tempfile::TempDir,
    }

    impl FakeManager {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            Self { socket: UnixDatagram::bind(folder.path().join("notify")).unwrap(), folder }
        }

        fn notifier(&self, limit: Option<Duration>) -> Notifier {
            Notifier::connect(self.folder.path().join("notify").as_os_str(), limit).unwrap()
        }

        fn heard(&self) -> String {
            heard(&self.socket)
        }
    }

    fn heard(socket: &UnixDatagram) -> String {
        let mut text = [0; 4096];
        let length = socket.recv(&mut text).unwrap();
        String::from_utf8(text[..length].to_vec()).unwrap()
    }

    #[test]
    fn a_service_tells_its_life() {
        let manager = FakeManager::new();
        let notifier = manager.notifier(Some(Duration::from_secs(10)));
        assert!(notifier.is_connected());
        assert_eq!(notifier.watchdog_period(), Some(Duration::from_secs(5)));
        notifier.ready().unwrap();
        assert_eq!(manager.heard(), "READY=1");
        notifier.status("1000 packets/s,\n0 dropped\r").unwrap();
        assert_eq!(manager.heard(), "STATUS=1000 packets/s, 0 dropped ");
        notifier.ping().unwrap();
        assert_eq!(manager.heard(), "WATCHDOG=1");
        notifier.reloading().unwrap();
        let reloading = manager.heard();
        let time = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
        assert!(time.parse::<u64>().unwrap() > 0, "{reloading:?}");
        notifier.stopping().unwrap();
        assert_eq!(manager.heard(), "STOPPING=1");
    }

    #[test]
    fn without_a_manager_nothing_fails() {
        let notifier = Notifier::default();
        assert!(!notifier.is_connected());
        assert_eq!(notifier.watchdog_period(), None);
        notifier.ready().unwrap();
        notifier.status("quiet").unwrap();
        notifier.ping().unwrap();
        notifier.reloading().unwrap();
        notifier.stopping().unwrap();
    }

    #[test]
    fn a_new_socket_of_the_manager_is_found() {
        let manager = FakeManager::new();
        let notifier = manager.notifier(None);
        let FakeManager { socket, folder } = manager;
        drop(socket);
        assert!(notifier.ping().is_err());
        std::fs::remove_file(folder.path().join("notify")).unwrap();
        let manager =
            FakeManager { socket: UnixDatagram::bind(folder.path().join("notify")).unwrap(), folder };
        notifier.ping().unwrap();
        assert_eq!(manager.heard(), "WATCHDOG=1");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn an_abstract_socket_is_a_manager_too() {
        use std::os::linux::net::SocketAddrExt;
        use std::os::unix::net::SocketAddr;

        let name = format!("tapline-test-{}", process::id());
        let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        let notifier = Notifier::connect(format!("@{name}").as_ref(), Some(Duration::ZERO)).unwrap();
        notifier.ready().unwrap();
        assert_eq!(heard(&socket), "READY=1");
        assert_eq!(notifier.watchdog_period(), None);
    }

    #[test]
    fn what_is_no_address_is_an_error() {
        for address in ["", "vsock:2:1234", "/no/such/socket"] {
            Notifier::connect(address.as_ref(), None).unwrap_err();
        }
    }

    #[test]
    fn a_manager_that_does_not_read_holds_nobody_up() {
        let manager = FakeManager::new();
        let notifier = manager.notifier(None);
        let failed = (0..100_000).map(|_| notifier.ping()).find_map(Result::err).expect("queues are bounded");
        assert!(matches!(failed.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{failed}");
        assert_eq!(manager.heard(), "WATCHDOG=1");
    }
}
