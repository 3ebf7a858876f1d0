//! [`Listeners`]: where the control server is reached; bound before the sensor gives up its rights.

use std::fs;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Where the control server is reached.
#[derive(Debug, Default)]
pub struct Listeners {
    /// For Prometheus and everybody else.
    pub tcp: Option<TcpListener>,
    /// For `top`.
    pub socket: Option<ControlSocket>,
}

/// A unix socket with a file of its own, which goes with it if rights allow.
#[derive(Debug)]
pub struct ControlSocket {
    pub(crate) listener: UnixListener,
    path: PathBuf,
}

/// Why there is no listener.
#[derive(Debug, Error)]
pub enum ListenError {
    /// The address is taken, is not ours, or its port needs rights.
    #[error("cannot listen on {address}: {source}; set control.listen to a free address of this host")]
    Tcp {
        /// Address and port.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// Somebody answers there.
    #[error("another sensor answers at {}; stop it, or set control.socket to another path", .path.display())]
    Answered {
        /// The socket.
        path: PathBuf,
    },
    /// Something is there that must not be removed.
    #[error("{} is there and is no socket; remove it, or set control.socket to another path", .path.display())]
    NoSocket {
        /// What is there.
        path: PathBuf,
    },
    /// The folder is missing, not ours to write, or the path is too long.
    #[error("cannot make the socket {}: {source}; its folder must be there and writable (tmpfiles.d, RuntimeDirectory=)",
        .path.display())]
    Socket {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl Listeners {
    /// Binds both; `None` for none.
    ///
    /// # Errors
    ///
    /// [`ListenError`] of the first that cannot be bound.
    pub fn bind(listen: Option<SocketAddr>, socket: Option<&Path>) -> Result<Self, ListenError> {
        let bind =
            |address| TcpListener::bind(address).map_err(|source| ListenError::Tcp { address, source });
        Ok(Self { tcp: listen.map(bind).transpose()?, socket: socket.map(ControlSocket::bind).transpose()? })
    }
}

impl ControlSocket {
    /// Binds a socket for its owner and group (mode 0660). One that a crash left is removed, if nobody answers there.
    ///
    /// # Errors
    ///
    /// [`ListenError`], never [`ListenError::Tcp`].
    pub fn bind(path: &Path) -> Result<Self, ListenError> {
        let failed = |source| ListenError::Socket { path: path.to_owned(), source };
        match fs::symlink_metadata(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
            Ok(file) if !file.file_type().is_socket() => {
                return Err(ListenError::NoSocket { path: path.to_owned() });
            }
            Ok(_) => match UnixStream::connect(path) {
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                    fs::remove_file(path).map_err(failed)?;
                }
                Err(error) => return Err(failed(error)),
                Ok(_) => return Err(ListenError::Answered { path: path.to_owned() }),
            },
        }
        let listener = UnixListener::bind(path).map_err(failed)?;
        let socket = Self { listener, path: path.to_owned() };
        fs::set_permissions(path, fs::Permissions::from_mode(0o660)).map_err(failed)?;
        Ok(socket)
    }

    /// Its file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        // A file that stays is removed at the next start.
        drop(fs::remove_file(&self.path));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_that_a_crash_left_is_replaced_and_one_that_answers_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.sock");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "std leaves the file, as a crash does");

        let socket = ControlSocket::bind(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
        let refused = ControlSocket::bind(&path).unwrap_err();
        assert_eq!(
            refused.to_string(),
            format!(
                "another sensor answers at {}; stop it, or set control.socket to another path",
                path.display()
            )
        );
        drop(socket);
        assert!(!path.exists());
    }

    #[test]
    fn what_is_no_socket_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notes.txt");
        fs::write(&path, "mine").unwrap();
        assert!(matches!(ControlSocket::bind(&path), Err(ListenError::NoSocket { .. })));
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
        let nowhere = folder.path().join("none/control.sock");
        let refused = ControlSocket::bind(&nowhere).unwrap_err().to_string();
        assert!(refused.contains("No such file or directory"), "{refused}");
    }

    #[test]
    fn a_port_that_is_taken_is_named() {
        let first = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = first.local_addr().unwrap();
        let refused = Listeners::bind(Some(address), None).unwrap_err().to_string();
        assert!(refused.starts_with(&format!("cannot listen on {address}: ")), "{refused}");
    }
}
