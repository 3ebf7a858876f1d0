//! Dropping rights, step by step.

use crate::error::RightsError;
use crate::plan::Plan;
use crate::report::Report;

/// Drops what the plan does not keep, for good: capabilities, new privileges, files and ports, system calls.
///
/// To be called in the main thread before others exist, when all is open that takes more rights: interfaces, TCP ports,
/// sockets. Threads made later have what it leaves.
///
/// # Errors
///
/// If other threads exist, a path cannot be granted, or the kernel refuses what it offers. Some rights are gone then: the
/// process should end. What the kernel does not offer is in the report.
pub fn drop_all(plan: &Plan) -> Result<Report, RightsError> {
    #[cfg(target_os = "linux")]
    return linux::drop_all(plan);
    #[cfg(not(target_os = "linux"))]
    {
        use crate::capabilities::CapabilitySet;
        use crate::report::Protection;

        let unavailable = || Protection::Unavailable { reason: "only on Linux".to_owned() };
        let wanted = |wanted| if wanted { unavailable() } else { Protection::SwitchedOff };
        Ok(Report {
            kept: CapabilitySet::EMPTY,
            capabilities: unavailable(),
            landlock: wanted(plan.landlock.is_some()),
            seccomp: wanted(plan.seccomp),
        })
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use std::fs;
    use std::io;

    use rustix::fs::{Access, access};
    use rustix::thread::set_no_new_privs;

    use crate::capabilities::{self, CapabilitySet};
    use crate::error::RightsError;
    use crate::file_access;
    use crate::plan::{Paths, Plan};
    use crate::report::{Protection, Report};
    use crate::system_calls;

    pub(super) fn drop_all(plan: &Plan) -> Result<Report, RightsError> {
        only_thread()?;
        let step = |step| move |source: io::Error| RightsError::Step { step, source };
        set_no_new_privs(true).map_err(io::Error::from).map_err(step("give up new privileges"))?;
        let wanted = if plan.keep_net_raw { CapabilitySet::NET_RAW } else { CapabilitySet::EMPTY };
        let kept = capabilities::keep_only(wanted)?;
        let landlock = match &plan.landlock {
            Some(paths) => {
                can_write(paths)?;
                file_access::restrict(paths)?
            }
            None => Protection::SwitchedOff,
        };
        // Last, because its program does not allow the calls above.
        let seccomp = if plan.seccomp { system_calls::restrict()? } else { Protection::SwitchedOff };
        let mut what = match kept.capabilities {
            CapabilitySet::EMPTY => "none".to_owned(),
            some => format!("{some} alone"),
        };
        what.push_str(if kept.bounding_emptied {
            ", no new privileges"
        } else {
            ", no new privileges, bounding set left (takes CAP_SETPCAP)"
        });
        Ok(Report {
            kept: kept.capabilities,
            capabilities: Protection::InForce { what, lacking: Vec::new() },
            landlock,
            seccomp,
        })
    }

    /// Capabilities, rules and filters are the thread's own: another one would keep all that it has.
    fn only_thread() -> Result<(), RightsError> {
        let step = |source| RightsError::Step { step: "count the threads in /proc/self/task", source };
        match fs::read_dir("/proc/self/task").map_err(step)?.count() {
            1 => Ok(()),
            count => Err(RightsError::OtherThreads { count }),
        }
    }

    /// Better said now than at the first rotation.
    fn can_write(paths: &Paths) -> Result<(), RightsError> {
        paths.write.iter().try_for_each(|folder| {
            let there =
                fs::metadata(folder).map_err(|source| RightsError::Path { path: folder.clone(), source })?;
            if !there.is_dir() {
                return Err(RightsError::NotAFolder { folder: folder.clone() });
            }
            access(folder, Access::WRITE_OK | Access::EXEC_OK).map_err(|errno| RightsError::NotWritable {
                folder: folder.clone(),
                user_id: rustix::process::getuid().as_raw(),
                source: errno.into(),
            })
        })
    }
}
