//! Landlock (landlock(7)): which files and TCP ports can still be opened.
//!
//! In: the plan's paths. Out: whether the rules hold, and what this kernel cannot restrict. All that the interface knows up
//! to version 7 (Linux 6.15) is restricted; what later ones add is not asked for before it could be tried: connecting to
//! Unix sockets by path (9) and UDP (10) stay open.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::OnceLock;

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, NetPort, PathBeneath, Ruleset, RulesetAttr, RulesetCreated,
    RulesetCreatedAttr, RulesetError, Scope, make_bitflags,
};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;

use crate::error::RightsError;
use crate::plan::{Paths, TcpConnect};
use crate::report::Protection;
use crate::rights::Landlock;

/// Restricts the calling thread and all that it starts.
pub(crate) fn restrict(paths: &Paths) -> Result<Protection, RightsError> {
    let abi = match Landlock::of_kernel() {
        Landlock::Abi(abi) => abi,
        other => return Ok(Protection::Unavailable { reason: other.to_string() }),
    };
    let created = ruleset(&paths.tcp_connect).map_err(refused)?;
    add_paths(created, paths)?.restrict_self().map_err(refused)?;
    keep_own_proc()?;
    Ok(protection(abi, &paths.tcp_connect))
}

fn refused(error: RulesetError) -> RightsError {
    RightsError::Landlock { source: Box::new(error) }
}

fn ruleset(tcp_connect: &TcpConnect) -> Result<RulesetCreated, RulesetError> {
    let ruleset = Ruleset::default()
        .handle_access(AccessFs::from_all(TRIED))?
        .handle_access(AccessNet::BindTcp)?
        .scope(Scope::from_all(TRIED))?;
    let ports = match tcp_connect {
        TcpConnect::Any => return ruleset.create(),
        TcpConnect::Ports(ports) => ports,
    };
    let name_server = (!ports.is_empty()).then_some(NAME_SERVER);
    ports
        .iter()
        .copied()
        .chain(name_server)
        .try_fold(ruleset.handle_access(AccessNet::ConnectTcp)?.create()?, |created, port| {
            created.add_rule(NetPort::new(port, AccessNet::ConnectTcp))
        })
}

fn add_paths(mut created: RulesetCreated, paths: &Paths) -> Result<RulesetCreated, RightsError> {
    let program = std::env::current_exe().ok();
    for path in ANY_RUN_READS.iter().map(Path::new).chain(program.as_deref()) {
        // Not every system has all of them.
        if let Ok(found) = Found::at(path) {
            created = created.add_rule(found.readable()).map_err(refused)?;
        }
    }
    if let Ok(found) = Found::at(Path::new("/dev/null")) {
        let both = AccessFs::ReadFile | AccessFs::WriteFile;
        created = created.add_rule(PathBeneath::new(found.file, both)).map_err(refused)?;
    }
    let named = |path: &Path| {
        Found::at(path).map_err(|errno| RightsError::Path { path: path.to_owned(), source: errno.into() })
    };
    for path in &paths.read {
        created = created.add_rule(named(path)?.readable()).map_err(refused)?;
    }
    for folder in &paths.write {
        created = created.add_rule(PathBeneath::new(named(folder)?.file, WRITABLE)).map_err(refused)?;
    }
    Ok(created)
}

/// Something in the file system that is granted.
struct Found {
    file: OwnedFd,
    is_folder: bool,
}

impl Found {
    fn at(path: &Path) -> Result<Self, Errno> {
        let file = open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        let kind = rustix::fs::FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode);
        Ok(Self { file, is_folder: kind.is_dir() })
    }

    fn readable(self) -> PathBeneath<OwnedFd> {
        let listing = if self.is_folder { AccessFs::ReadDir.into() } else { BitFlags::EMPTY };
        PathBeneath::new(self.file, listing | AccessFs::ReadFile)
    }
}

/// Keeps `/proc/self` open until the process ends. A rule holds for an inode, and procfs makes a new one when it looks up a
/// process whose entry it has dropped, as it does when memory is short: an open one is never dropped.
fn keep_own_proc() -> Result<(), RightsError> {
    static OWN_PROC: OnceLock<OwnedFd> = OnceLock::new();
    let own = open("/proc/self", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| RightsError::Path { path: "/proc/self".into(), source: errno.into() })?;
    // Who restricts a second time has it already.
    let _ = OWN_PROC.set(own);
    Ok(())
}

fn protection(abi: u32, tcp_connect: &TcpConnect) -> Protection {
    let mut what = format!("in force (ABI {abi})");
    match tcp_connect {
        TcpConnect::Any => what.push_str(", TCP to any port"),
        TcpConnect::Ports(ports) if ports.is_empty() => {}
        TcpConnect::Ports(ports) => {
            let ports: Vec<_> = ports.iter().map(u16::to_string).collect();
            what.push_str(&format!(", TCP to port {}", ports.join(", ")));
        }
    }
    let lacking =
        SINCE.iter().filter(|(since, _)| abi < *since).map(|(since, what)| format!("{what} (ABI {since})"));
    Protection::InForce { what, lacking: lacking.collect() }
}

/// The version whose restrictions are tried by the tests; only those are asked for.
const TRIED: ABI = ABI::V7;

/// What each version of the interface began to restrict; the first restricts opening files.
const SINCE: &[(u32, &str)] = &[
    (3, "cutting files short"),
    (4, "TCP ports"),
    (5, "commands to devices"),
    (6, "abstract Unix sockets and signals"),
];

/// What can be done in a folder of the sensor's own: all but programs, devices and links to elsewhere.
const WRITABLE: BitFlags<AccessFs> = make_bitflags!(AccessFs::{
    ReadFile | ReadDir | WriteFile | Truncate | MakeReg | RemoveFile | Refer | MakeDir | RemoveDir | MakeSock
});

/// What any run may read, where it is there. `/etc` is not among it, but for what name resolution wants. resolv.conf is
/// mostly a link into a folder of `/run`, where it is replaced whenever the network changes.
const ANY_RUN_READS: &[&str] = &[
    "/proc/self",
    "/sys/class/net",
    "/sys/devices",
    "/sys/fs/cgroup",
    "/sys/kernel/mm/transparent_hugepage",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/sys/vm/overcommit_memory",
    "/lib",
    "/lib32",
    "/lib64",
    "/usr/lib",
    "/usr/lib32",
    "/usr/lib64",
    "/etc/ld.so.cache",
    "/etc/gai.conf",
    "/etc/host.conf",
    "/etc/hosts",
    "/etc/nsswitch.conf",
    "/etc/protocols",
    "/etc/resolv.conf",
    "/etc/services",
    "/run/NetworkManager",
    "/run/resolvconf",
    "/run/systemd/resolve",
    "/dev/urandom",
];

/// Name servers are asked by UDP, and by TCP where the answer is long.
const NAME_SERVER: u16 = 53;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_kernel_is_told_apart() {
        let ports = TcpConnect::Ports(vec![80, 601]);
        assert_eq!(protection(7, &ports).to_string(), "in force (ABI 7), TCP to port 80, 601");
        assert_eq!(protection(9, &TcpConnect::Any).to_string(), "in force (ABI 9), TCP to any port");
        assert_eq!(
            protection(4, &TcpConnect::default()).to_string(),
            "in force (ABI 4), but not commands to devices (ABI 5), abstract Unix sockets and signals (ABI 6)"
        );
        let Protection::InForce { lacking, .. } = protection(1, &ports) else { panic!("it is in force") };
        assert_eq!(lacking.len(), 4);
    }
}
