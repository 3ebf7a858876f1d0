//! The host: what the kernel's queues drop, processors, memory, clock.

use std::thread;

use super::{CapturePlan, Finding, Trees, size};

pub(super) fn findings(trees: &Trees, plan: &CapturePlan) -> Vec<Finding> {
    let processors = thread::available_parallelism().ok().map(usize::from);
    [
        backlog(trees),
        processors.map(|count| threads(plan, count)),
        memory(trees, plan.memory_bytes),
        clock(trees),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The queues between adapters and protocols, one for each processor.
fn backlog(trees: &Trees) -> Option<Finding> {
    let limit =
        |name: &str| trees.proc(&format!("sys/net/core/{name}")).and_then(|limit| limit.parse::<u64>().ok());
    // Hexadecimal columns: taken, dropped because the queue was full, stopped because the time was up.
    let mut sums = [0_u64; 3];
    for line in trees.proc("net/softnet_stat")?.lines() {
        for (sum, column) in sums.iter_mut().zip(line.split_ascii_whitespace()) {
            *sum += u64::from_str_radix(column, 16).ok()?;
        }
    }
    let [taken, dropped, stopped] = sums;
    if dropped > 0 {
        let most = limit("netdev_max_backlog").unwrap_or(1_000);
        return Some(Finding::warn(
            "network",
            format!(
                "the kernel dropped {dropped} of {taken} packets because a processor's queue of {most} was full"
            ),
            format!("sysctl -w net.core.netdev_max_backlog={}", most.saturating_mul(10)),
        ));
    }
    // Now and then is normal.
    if stopped > taken / 1_000 && stopped > 100 {
        let budget = limit("netdev_budget").unwrap_or(300);
        return Some(Finding::warn(
            "network",
            format!(
                "{stopped} times the kernel put off fetching packets because its budget of {budget} was used up"
            ),
            format!(
                "sysctl -w net.core.netdev_budget={} net.core.netdev_budget_usecs=8000",
                budget.saturating_mul(2)
            ),
        ));
    }
    Some(Finding::ok("network", "the kernel's queues have dropped nothing"))
}

fn threads(plan: &CapturePlan, processors: usize) -> Finding {
    let readers: usize = plan.interfaces.iter().map(|interface| interface.readers.max(1)).sum();
    let busy = readers + plan.workers;
    let what = format!("{readers} readers and {} workers on {processors} processors", plan.workers);
    if busy > processors {
        Finding::warn(
            "processors",
            what,
            "fewer `readers` or `workers`, or more processors: they wait for each other",
        )
    } else {
        Finding::ok("processors", what)
    }
}

fn memory(trees: &Trees, wanted_bytes: u64) -> Option<Finding> {
    let meminfo = trees.proc("meminfo")?;
    let field = |name: &str| -> Option<u64> {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        Some(line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()? << 10)
    };
    let (total, available) = (field("MemTotal")?, field("MemAvailable")?);
    let limit = group_limit(trees).filter(|limit| *limit < total);
    let wanted = size(wanted_bytes);
    // Beside what is configured there are the program, a model, threads.
    let needed = wanted_bytes.saturating_add(wanted_bytes / 10);
    Some(if let Some(limit) = limit.filter(|limit| needed > *limit) {
        Finding::bad(
            "memory",
            format!("`memory` is {wanted}, but the control group may have {} only", size(limit)),
            "a lower `memory`, or a higher MemoryMax= of the unit or --memory of the container",
        )
    } else if needed > total {
        Finding::bad(
            "memory",
            format!("`memory` is {wanted}, but there are {}", size(total)),
            "a lower `memory`",
        )
    } else if needed > available {
        Finding::warn(
            "memory",
            format!("`memory` is {wanted}, but only {} of {} are free", size(available), size(total)),
            "a lower `memory`, or fewer other programs",
        )
    } else {
        Finding::ok("memory", format!("`memory` is {wanted}, of {} free", size(available)))
    })
}

/// The lowest limit of the control groups that the process is in (version 2).
fn group_limit(trees: &Trees) -> Option<u64> {
    let groups = trees.proc("self/cgroup")?;
    let own = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let levels = own.split('/').filter(|level| !level.is_empty()).scan(String::new(), |path, level| {
        path.push_str(level);
        path.push('/');
        Some(path.clone())
    });
    // In a container the group's own folder is the root.
    [String::new()]
        .into_iter()
        .chain(levels)
        .filter_map(|path| trees.sys(&format!("fs/cgroup/{path}memory.max"))?.parse().ok())
        .min()
}

fn clock(trees: &Trees) -> Option<Finding> {
    let folder = "devices/system/clocksource/clocksource0";
    let clock = trees.sys(&format!("{folder}/current_clocksource"))?;
    if FAST_CLOCKS.contains(&clock.as_str()) {
        return Some(Finding::ok("clock", format!("time comes from {clock}, without a system call")));
    }
    let others = trees.sys(&format!("{folder}/available_clocksource")).unwrap_or_default();
    let better = others.split_ascii_whitespace().find(|other| FAST_CLOCKS.contains(other));
    Some(Finding::warn(
        "clock",
        format!("time comes from {clock}, which is slow to read: every packet is stamped with it"),
        match better {
            Some(better) => format!("echo {better} > /sys/{folder}/current_clocksource"),
            None => "clocksource=tsc on the kernel's command line, if the processor's counter is steady"
                .to_owned(),
        },
    ))
}

/// Read from user space, without a system call.
const FAST_CLOCKS: &[&str] =
    &["tsc", "kvm-clock", "hyperv_clocksource_tsc_page", "arch_sys_counter", "riscv_clocksource"];

#[cfg(test)]
mod tests {
    use super::super::{InterfacePlan, State, fake};
    use super::*;

    #[test]
    fn queues_tell_drops_and_a_small_budget_apart() {
        let limits =
            [("proc/sys/net/core/netdev_max_backlog", "1000"), ("proc/sys/net/core/netdev_budget", "300")];
        let backlog_of = |softnet: &str| {
            let (trees, _folder) =
                fake::trees(&[&limits[..], &[("proc/net/softnet_stat", softnet)]].concat());
            backlog(&trees).unwrap()
        };
        assert_eq!(backlog_of("00001000 00000000 00000002 0\n00000010 00000000 00000000 0").state, State::Ok);
        let dropped = backlog_of("00001000 0000000a 00000002 0\n00000010 00000001 00000000 0");
        assert!(dropped.what.contains("dropped 11 of 4112"), "{dropped}");
        assert_eq!(dropped.cure.unwrap(), "sysctl -w net.core.netdev_max_backlog=10000");
        let stopped = backlog_of("00001000 00000000 00001000 0");
        assert!(stopped.cure.unwrap().contains("netdev_budget=600"));
    }

    #[test]
    fn more_threads_than_processors_are_told() {
        let interface = InterfacePlan { readers: 2, ..InterfacePlan::default() };
        let plan = CapturePlan { interfaces: vec![interface], workers: 2, ..CapturePlan::default() };
        assert_eq!(threads(&plan, 4).state, State::Ok);
        let crowded = threads(&plan, 3);
        assert_eq!(
            (crowded.state, crowded.what.as_str()),
            (State::Warn, "2 readers and 2 workers on 3 processors")
        );
    }

    #[test]
    fn memory_is_held_against_every_limit() {
        let meminfo =
            ("proc/meminfo", "MemTotal:        8388608 kB\nMemFree: 1 kB\nMemAvailable:    2097152 kB");
        let (trees, _folder) = fake::trees(&[meminfo]);
        assert_eq!(
            memory(&trees, 512 << 20).unwrap().to_string(),
            "ok    memory: `memory` is 512 MiB, of 2 GiB free"
        );
        assert_eq!(memory(&trees, 2 << 30).unwrap().state, State::Warn);
        assert_eq!(memory(&trees, 8 << 30).unwrap().state, State::Bad);
        let (trees, _folder) = fake::trees(&[
            meminfo,
            ("proc/self/cgroup", "0::/system.slice/tapline.service"),
            ("sys/fs/cgroup/system.slice/memory.max", "536870912"),
            ("sys/fs/cgroup/system.slice/tapline.service/memory.max", "max"),
        ]);
        let limited = memory(&trees, 512 << 20).unwrap();
        assert!(limited.state == State::Bad && limited.what.contains("may have 512 MiB only"), "{limited}");
        assert_eq!(memory(&trees, 400 << 20).unwrap().state, State::Ok);
    }

    #[test]
    fn a_slow_clock_is_told_with_a_better_one() {
        let clock_of = |now: &str, others: &str| {
            let folder = "sys/devices/system/clocksource/clocksource0";
            let (now_at, others_at) =
                (format!("{folder}/current_clocksource"), format!("{folder}/available_clocksource"));
            let (trees, _folder) = fake::trees(&[(&now_at, now), (&others_at, others)]);
            clock(&trees).unwrap()
        };
        assert_eq!(clock_of("tsc", "tsc hpet").state, State::Ok);
        assert!(clock_of("hpet", "tsc hpet acpi_pm").cure.unwrap().starts_with("echo tsc > /sys/devices/"));
        assert!(clock_of("acpi_pm", "acpi_pm").cure.unwrap().starts_with("clocksource=tsc"));
    }
}
