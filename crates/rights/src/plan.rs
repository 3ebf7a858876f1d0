//! What is to be kept, when rights are dropped.

use std::path::{Path, PathBuf};

/// What [`drop_all`](crate::drop_all) leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Whether CAP_NET_RAW stays, so that an interface that comes back can be opened again. If not, no capability does.
    pub keep_net_raw: bool,
    /// The files and ports that stay open to the process; `None` switches Landlock off.
    pub landlock: Option<Paths>,
    /// Whether system calls that the sensor does not need are to fail.
    pub seccomp: bool,
}

/// The files and TCP ports that can still be opened. What is open already stays so.
///
/// Beside them, what any run needs can be read: the process's own `/proc/self`, the kernel's view of interfaces and
/// processors in `/sys`, the program itself and shared libraries, and what name resolution reads in `/etc`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Paths {
    /// Files, or folders with all that is in them. They must exist. A rule holds for the file that is there now, not for
    /// its name: what is replaced later, by rename, needs its folder named ([`reread`](Self::reread)).
    pub read: Vec<PathBuf>,
    /// Folders in which files and sockets can be made, written, renamed and removed. They must exist, and the process
    /// must be able to write there without the capabilities that it loses.
    pub write: Vec<PathBuf>,
    /// Where TCP connections can be made to. No TCP port can be bound any more: that is done before.
    pub tcp_connect: TcpConnect,
}

impl Paths {
    /// Lets a file be read again after it was replaced: its folder is granted. Not so a folder that others use too, as
    /// `/etc`; there the file alone is granted, and after a rename over it reading fails.
    pub fn reread(&mut self, file: &Path) -> Grant {
        let folder = match file.parent() {
            Some(folder) if folder.as_os_str().is_empty() => Path::new("."),
            Some(folder) => folder,
            None => file,
        };
        let real = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
        let shared = SHARED_FOLDERS.iter().any(|shared| real == Path::new(shared))
            || real.parent() == Some(Path::new("/home"));
        self.read.push(if shared { file.to_owned() } else { folder.to_owned() });
        if shared { Grant::FileOnly } else { Grant::Folder }
    }
}

/// What [`Paths::reread`] granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grant {
    /// The file's folder: it may be replaced.
    Folder,
    /// The file as it is now: its folder holds what is not the sensor's.
    FileOnly,
}

/// To which TCP ports connections can be made, at any address. Other protocols are not restricted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TcpConnect {
    /// These; and 53, for long answers of name servers, if there are any.
    Ports(Vec<u16>),
    /// All.
    Any,
}

impl Default for TcpConnect {
    fn default() -> Self {
        Self::Ports(Vec::new())
    }
}

const SHARED_FOLDERS: &[&str] = &[
    "/",
    "/boot",
    "/dev",
    "/etc",
    "/home",
    "/mnt",
    "/opt",
    "/proc",
    "/root",
    "/run",
    "/srv",
    "/sys",
    "/tmp",
    "/usr",
    "/usr/local",
    "/usr/local/etc",
    "/usr/share",
    "/var",
    "/var/lib",
    "/var/log",
    "/var/tmp",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_granted_with_its_folder_but_not_with_a_shared_one() {
        let folder = tempfile::tempdir().unwrap();
        let own = folder.path().join("tapline.toml");
        let mut paths = Paths::default();
        assert_eq!(paths.reread(&own), Grant::Folder);
        assert_eq!(paths.reread(Path::new("/etc/tapline.toml")), Grant::FileOnly);
        assert_eq!(paths.reread(Path::new("/home/somebody/tapline.toml")), Grant::FileOnly);
        assert_eq!(paths.reread(Path::new("/usr/../etc/tapline.toml")), Grant::FileOnly);
        assert_eq!(paths.read[0], folder.path());
        assert_eq!(paths.read[1], Path::new("/etc/tapline.toml"));
    }
}
