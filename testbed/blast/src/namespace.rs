//! Whether this process is in the host's network namespace.
//!
//! What cannot be told counts as the host's. A container's own namespace is a host's here: its interfaces lead out.

use std::fs;
use std::path::Path;

/// Whether interfaces of this process's network namespace may be the host's.
#[must_use]
pub fn is_the_hosts() -> bool {
    if Path::new(FIRST_NAMESPACE_ONLY).exists() {
        return true;
    }
    let link = |path: &str| fs::read_link(path).ok();
    match (link("/proc/self/ns/net"), link("/proc/1/ns/net")) {
        (Some(own), Some(first)) => own == first,
        (None, _) => true,
        // Process 1 may not be looked at. Who administers a namespace that is not the first made it, or is trusted to:
        // containers have no such right unless they are given it.
        (_, None) => !administers_network(),
    }
}

/// Whether the process has `CAP_NET_ADMIN` over its network namespace: else sysctls are not writable.
fn administers_network() -> bool {
    fs::OpenOptions::new().write(true).open("/proc/sys/net/ipv4/conf/default/forwarding").is_ok()
}

/// A setting of the whole kernel, which it shows in the first network namespace alone.
const FIRST_NAMESPACE_ONLY: &str = "/proc/sys/net/core/dev_weight";
