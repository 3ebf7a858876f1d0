//! seccomp(2): which system calls still work.
//!
//! What is listed here is allowed, with arguments where they matter; all else answers EPERM. But where a C library has a
//! way around, the answer is ENOSYS: to calls that are newer than this list, and to clone3, whose arguments no program can
//! see; threads are then made by clone, which shows that it makes no process.

use std::collections::BTreeMap;
use std::env::consts::ARCH;
use std::process;

use libc::c_long;
use seccompiler::{
    BackendError, BpfProgram, Error, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch, apply_filter, sock_filter,
};

use crate::error::RightsError;
use crate::report::Protection;

/// Restricts the calling thread and all that it starts.
pub(crate) fn restrict() -> Result<Protection, RightsError> {
    let Ok(arch) = TargetArch::try_from(ARCH) else {
        return Ok(unavailable(format!("Tapline has no list of system calls for {ARCH}")));
    };
    let refused = |error: Error| RightsError::Seccomp { source: Box::new(error) };
    let rules = rules(process::id()).map_err(|error| refused(error.into()))?;
    let count = rules.len();
    let program = program(rules, arch).map_err(|error| refused(error.into()))?;
    match apply_filter(&program) {
        Ok(()) => {
            let what = format!("in force, {count} system calls left");
            Ok(Protection::InForce { what, lacking: Vec::new() })
        }
        Err(Error::Seccomp(errno)) if errno.raw_os_error().is_some_and(|errno| ABSENT.contains(&errno)) => {
            Ok(unavailable(format!(
                "the kernel was built without CONFIG_SECCOMP_FILTER, or a container forbids it: {errno}"
            )))
        }
        Err(error) => Err(refused(error)),
    }
}

fn unavailable(reason: String) -> Protection {
    Protection::Unavailable { reason }
}

fn program(rules: Rules, arch: TargetArch) -> Result<BpfProgram, BackendError> {
    let denied = SeccompAction::Errno(libc::EPERM.cast_unsigned());
    let listed: BpfProgram = SeccompFilter::new(rules, denied, SeccompAction::Allow, arch)?.try_into()?;
    let mut program = unknown_calls();
    program.extend(listed);
    Ok(program)
}

/// By the number of the call; any of its rules allows it, none at all allows it whatever the arguments.
type Rules = BTreeMap<i64, Vec<SeccompRule>>;

fn rules(own_process: u32) -> Result<Rules, BackendError> {
    let mut rules: Rules = ALLOWED.iter().map(|call| (*call, Vec::new())).collect();

    // A thread, and in the namespaces of the process.
    let flags = libc::CLONE_THREAD | NEW_NAMESPACES;
    rules.insert(libc::SYS_clone, vec![when(&[masked(0, flags, libc::CLONE_THREAD)?])?]);
    // Nobody but the process itself is signalled.
    for call in [libc::SYS_kill, libc::SYS_tgkill] {
        let own = SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, own_process.into())?;
        rules.insert(call, vec![when(&[own])?]);
    }
    // Limits are read, not set.
    let nothing_new = SeccompCondition::new(2, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, 0)?;
    rules.insert(libc::SYS_prlimit64, vec![when(&[nothing_new])?]);

    // Nothing is written and then run; libraries can still be loaded.
    let both = libc::PROT_WRITE | libc::PROT_EXEC;
    let not_both = [0, libc::PROT_WRITE, libc::PROT_EXEC].map(|some| masked(2, both, some));
    rules.insert(libc::SYS_mmap, any(not_both)?);
    rules.insert(libc::SYS_mprotect, any([masked(2, libc::PROT_EXEC, 0)])?);

    // No raw IP sockets, although CAP_NET_RAW would allow them; of netlink, what tells about interfaces.
    let mut sockets = vec![
        when(&[equal(0, libc::AF_UNIX)?])?,
        when(&[equal(0, libc::AF_PACKET)?])?,
        when(&[equal(0, libc::AF_NETLINK)?, equal(2, libc::NETLINK_ROUTE)?])?,
    ];
    for family in [libc::AF_INET, libc::AF_INET6] {
        for kind in [libc::SOCK_STREAM, libc::SOCK_DGRAM] {
            sockets.push(when(&[equal(0, family)?, masked(1, SOCKET_KIND, kind)?])?);
        }
    }
    rules.insert(libc::SYS_socket, sockets);
    rules.insert(libc::SYS_socketpair, any([equal(0, libc::AF_UNIX)])?);

    rules.insert(libc::SYS_ioctl, any(REQUESTS.iter().map(|request| equal(1, *request)))?);
    rules.insert(libc::SYS_prctl, any(PROCESS_OPTIONS.iter().map(|option| equal(0, *option)))?);
    // Only the question for the version.
    rules.insert(libc::SYS_landlock_create_ruleset, any([equal(2, 1)])?);
    Ok(rules)
}

fn any(
    conditions: impl IntoIterator<Item = Result<SeccompCondition, BackendError>>,
) -> Result<Vec<SeccompRule>, BackendError> {
    conditions.into_iter().map(|condition| when(&[condition?])).collect()
}

fn when(conditions: &[SeccompCondition]) -> Result<SeccompRule, BackendError> {
    SeccompRule::new(conditions.to_vec())
}

/// The argument, an int, is `value`.
fn equal(argument: u8, value: i32) -> Result<SeccompCondition, BackendError> {
    let value = value.cast_unsigned().into();
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value)
}

/// The argument, an int, is `value` where `mask` has bits.
fn masked(argument: u8, mask: i32, value: i32) -> Result<SeccompCondition, BackendError> {
    let mask = SeccompCmpOp::MaskedEq(mask.cast_unsigned().into());
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, mask, value.cast_unsigned().into())
}

/// Answers ENOSYS to clone3 and to what is newer than the list; else what follows it decides, which begins by ending who
/// calls by the numbers of another architecture. (Those of x32 are large, and newer by this count.)
fn unknown_calls() -> BpfProgram {
    let step = |code: u32, k: u32, jt: u8, jf: u8| sock_filter { code: code as u16, jt, jf, k };
    let enosys = libc::SECCOMP_RET_ERRNO | libc::ENOSYS.cast_unsigned();
    vec![
        // The number is the first word of `struct seccomp_data`.
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        step(libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K, NEWEST_KNOWN_CALL as u32, 1, 0),
        step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, libc::SYS_clone3 as u32, 0, 1),
        step(libc::BPF_RET | libc::BPF_K, enosys, 0, 0),
    ]
}

/// What a kernel or container without seccomp answers. A program that it cannot read would be EINVAL too, but then no
/// kernel would take it, and the tests would fail.
const ABSENT: [i32; 3] = [libc::ENOSYS, libc::EINVAL, libc::EPERM];

/// listns, of Linux 6.19: all architectures number alike since 5.1.
const NEWEST_KNOWN_CALL: c_long = 470;

const NEW_NAMESPACES: i32 = libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET;

/// The type of a socket without its flags (linux/net.h).
const SOCKET_KIND: i32 = 0xf;

/// What is asked of descriptors: of any, of terminals whether they are, of interfaces what libpcap and we want to know.
const REQUESTS: &[i32] = &[
    libc::FIOCLEX as i32,
    libc::FIONCLEX as i32,
    libc::FIONBIO as i32,
    libc::FIONREAD as i32,
    libc::TIOCOUTQ as i32,
    libc::TCGETS as i32,
    libc::TIOCGWINSZ as i32,
    libc::SIOCGIFNAME as i32,
    libc::SIOCGIFINDEX as i32,
    libc::SIOCGIFFLAGS as i32,
    libc::SIOCGIFADDR as i32,
    libc::SIOCGIFNETMASK as i32,
    libc::SIOCGIFHWADDR as i32,
    libc::SIOCGIFMTU as i32,
    libc::SIOCGIFCONF as i32,
    libc::SIOCETHTOOL as i32,
    // Whether it is a wireless one; whether it is a bond; how it stamps packets.
    0x8b01,
    0x8994,
    0x89b0,
];

const PROCESS_OPTIONS: &[i32] = &[
    libc::PR_SET_NAME,
    libc::PR_GET_NAME,
    libc::PR_GET_DUMPABLE,
    libc::PR_GET_SECCOMP,
    libc::PR_GET_NO_NEW_PRIVS,
    libc::PR_CAPBSET_READ,
    libc::PR_SET_TIMERSLACK,
    libc::PR_GET_TIMERSLACK,
    libc::PR_SET_THP_DISABLE,
    libc::PR_GET_THP_DISABLE,
    // PR_SET_VMA: names for anonymous memory.
    0x5356_4d41,
];

/// Whatever the arguments. Each group is there for what its comment says.
const ALLOWED: &[c_long] = &[
    // Files: rows, rotation, retention, the model, the configuration.
    libc::SYS_openat,
    libc::SYS_close,
    libc::SYS_close_range,
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_pread64,
    libc::SYS_preadv,
    libc::SYS_preadv2,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_pwrite64,
    libc::SYS_pwritev,
    libc::SYS_pwritev2,
    libc::SYS_lseek,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_statfs,
    libc::SYS_fstatfs,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_readlinkat,
    libc::SYS_getdents64,
    libc::SYS_getcwd,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_linkat,
    libc::SYS_unlinkat,
    libc::SYS_mkdirat,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_utimensat,
    libc::SYS_truncate,
    libc::SYS_ftruncate,
    libc::SYS_fallocate,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_sync_file_range,
    libc::SYS_fadvise64,
    libc::SYS_readahead,
    libc::SYS_flock,
    libc::SYS_fcntl,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_copy_file_range,
    libc::SYS_sendfile,
    libc::SYS_splice,
    libc::SYS_umask,
    libc::SYS_inotify_init1,
    libc::SYS_inotify_add_watch,
    libc::SYS_inotify_rm_watch,
    // Memory.
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_msync,
    libc::SYS_membarrier,
    // Threads.
    libc::SYS_futex,
    libc::SYS_set_robust_list,
    libc::SYS_get_robust_list,
    libc::SYS_set_tid_address,
    libc::SYS_rseq,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_setaffinity,
    libc::SYS_sched_getparam,
    libc::SYS_sched_getscheduler,
    libc::SYS_sched_get_priority_min,
    libc::SYS_sched_get_priority_max,
    libc::SYS_getpriority,
    libc::SYS_getcpu,
    libc::SYS_gettid,
    libc::SYS_exit,
    libc::SYS_exit_group,
    // Signals to itself.
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigpending,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigsuspend,
    libc::SYS_rt_sigtimedwait,
    libc::SYS_sigaltstack,
    libc::SYS_signalfd4,
    libc::SYS_restart_syscall,
    // Sockets of the kinds above; waiting.
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_connect,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
    libc::SYS_shutdown,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_sendmmsg,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_recvmmsg,
    libc::SYS_ppoll,
    libc::SYS_pselect6,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_eventfd2,
    libc::SYS_pipe2,
    libc::SYS_timerfd_create,
    libc::SYS_timerfd_settime,
    libc::SYS_timerfd_gettime,
    // Clocks.
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_gettimeofday,
    // What the process is and uses.
    libc::SYS_getrandom,
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_getresuid,
    libc::SYS_getresgid,
    libc::SYS_getgroups,
    libc::SYS_getpgid,
    libc::SYS_getsid,
    libc::SYS_getrlimit,
    libc::SYS_getrusage,
    libc::SYS_times,
    libc::SYS_capget,
    libc::SYS_sysinfo,
    libc::SYS_uname,
    // The older names of calls above, which x86-64 has kept.
    #[cfg(target_arch = "x86_64")]
    libc::SYS_open,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_stat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_lstat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_access,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_readlink,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_rename,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_link,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_unlink,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_mkdir,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_rmdir,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_chmod,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_dup2,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_pipe,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_select,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_epoll_create,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_epoll_wait,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_eventfd,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_signalfd,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_pause,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_time,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_getpgrp,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_makes_a_program_and_names_nothing_dangerous() {
        let rules = rules(1).unwrap();
        for call in [
            libc::SYS_execve,
            libc::SYS_execveat,
            libc::SYS_ptrace,
            libc::SYS_bpf,
            libc::SYS_clone3,
            libc::SYS_setuid,
            libc::SYS_io_uring_setup,
            libc::SYS_capset,
            libc::SYS_seccomp,
        ] {
            assert!(!rules.contains_key(&call), "call {call}");
        }
        assert!(rules.keys().all(|call| (0..=NEWEST_KNOWN_CALL).contains(call)));
        let twice = ALLOWED.len() - ALLOWED.iter().collect::<std::collections::BTreeSet<_>>().len();
        assert_eq!(twice, 0, "calls are listed twice");
        // Four thousand instructions is the kernel's limit.
        let length = program(rules, TargetArch::try_from(ARCH).unwrap()).unwrap().len();
        assert!(length < 2_000, "{length}");
    }
}
