//! Capabilities (capabilities(7)): which the process has, and giving them up.

use std::fmt;

/// A set of capabilities, by their numbers in linux/capability.h.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CapabilitySet(u64);

impl CapabilitySet {
    /// CAP_NET_RAW: packet sockets, which is all that capturing needs.
    pub const NET_RAW: Self = Self(1 << 13);
    /// None at all.
    pub const EMPTY: Self = Self(0);

    /// The set with a bit for each capability's number.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// Whether all of `other` are in it.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// How many there are.
    #[must_use]
    pub const fn count(self) -> u32 {
        self.0.count_ones()
    }
}

/// The names, as setcap(8) writes them; a count if there are many.
impl fmt::Display for CapabilitySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers: Vec<_> = (0..64).filter(|number| self.0 & 1 << number != 0).collect();
        match numbers.len() {
            0 => return f.write_str("none"),
            1..=5 => {}
            count => return write!(f, "{count} capabilities"),
        }
        for (place, number) in numbers.into_iter().enumerate() {
            f.write_str(if place == 0 { "" } else { " " })?;
            match NAMES.get(number) {
                Some(name) => write!(f, "CAP_{name}")?,
                None => write!(f, "capability {number}")?,
            }
        }
        Ok(())
    }
}

/// In the order of linux/capability.h.
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

#[cfg(target_os = "linux")]
pub(crate) use linux::{effective, keep_only};

#[cfg(target_os = "linux")]
mod linux {
    use rustix::io::Errno;
    use rustix::thread::{
        CapabilitySet as Kernel, CapabilitySets, capabilities, capability_is_in_bounding_set,
        clear_ambient_capability_set, remove_capability_from_bounding_set, set_capabilities,
    };

    use super::CapabilitySet;
    use crate::error::RightsError;

    /// What the calling thread may use now.
    pub(crate) fn effective() -> CapabilitySet {
        capabilities(None).map_or(CapabilitySet::EMPTY, |sets| CapabilitySet(sets.effective.bits()))
    }

    /// What [`keep_only`] left.
    pub(crate) struct Kept {
        pub(crate) capabilities: CapabilitySet,
        /// Whether the bounding set could be emptied, which takes CAP_SETPCAP. Without new privileges nothing comes of
        /// what is in it.
        pub(crate) bounding_emptied: bool,
    }

    /// Gives up all capabilities of the calling thread but `wanted`, of which it keeps what it has.
    pub(crate) fn keep_only(wanted: CapabilitySet) -> Result<Kept, RightsError> {
        let step = |step| move |errno: Errno| RightsError::Step { step, source: errno.into() };
        match clear_ambient_capability_set() {
            // Before Linux 4.3 there was no such set.
            Ok(()) | Err(Errno::INVAL) => {}
            Err(errno) => return Err(step("clear the ambient capabilities")(errno)),
        }
        // First, as it takes a capability that is then given up.
        let bounding_emptied = empty_bounding_set().map_err(step("empty the bounding set"))?;
        let had = capabilities(None).map_err(step("read the capabilities"))?;
        let kept = had.permitted & Kernel::from_bits_retain(wanted.0);
        let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: Kernel::empty() };
        set_capabilities(None, sets).map_err(step("drop capabilities"))?;
        let has = capabilities(None).map_err(step("read the capabilities"))?;
        if has != sets {
            return Err(step("drop capabilities")(Errno::PERM));
        }
        Ok(Kept { capabilities: CapabilitySet(kept.bits()), bounding_emptied })
    }

    fn empty_bounding_set() -> Result<bool, Errno> {
        let mut emptied = true;
        for number in 0..64 {
            let capability = Kernel::from_bits_retain(1 << number);
            match capability_is_in_bounding_set(capability) {
                Ok(true) => {}
                Ok(false) => continue,
                // Beyond the last one that this kernel knows.
                Err(Errno::INVAL) => break,
                Err(errno) => return Err(errno),
            }
            match remove_capability_from_bounding_set(capability) {
                Ok(()) => {}
                Err(Errno::PERM) => emptied = false,
                Err(errno) => return Err(errno),
            }
        }
        Ok(emptied)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_written_as_setcap_does() {
        assert_eq!(CapabilitySet::NET_RAW.to_string(), "CAP_NET_RAW");
        assert_eq!(CapabilitySet::EMPTY.to_string(), "none");
        assert_eq!(
            CapabilitySet::from_bits(1 | 1 << 40 | 1 << 63).to_string(),
            "CAP_CHOWN CAP_CHECKPOINT_RESTORE capability 63"
        );
        assert_eq!(CapabilitySet::from_bits((1 << 41) - 1).to_string(), "41 capabilities");
        assert!(CapabilitySet::from_bits(u64::MAX).contains(CapabilitySet::NET_RAW));
        assert!(!CapabilitySet::from_bits(!(1 << 13)).contains(CapabilitySet::NET_RAW));
    }
}
