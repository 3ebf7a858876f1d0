"""Namespaces: one network and mount namespace per host, held by a process that ends with us.

Owns: holders, addresses, routes, stack settings. Never leaves anything behind: no name in /run/netns, no file outside
the run's directory; when the holder's standard input closes, the namespace is gone. In: a planned host. Out: `Machine`.
"""

import asyncio
import os
import signal
import subprocess
from pathlib import Path

from .plan import GATEWAY_MAC


class NamespaceError(Exception):
    """Why a namespace could not be made."""


class Machine:
    """A host that exists: enter it with programs (`spawn`) or with sockets (`netns_fd`)."""

    def __init__(self, host, directory: Path):
        self.host = host
        self.directory = directory
        self.directory.mkdir(parents=True, exist_ok=True)
        self.programs: list[asyncio.subprocess.Process] = []
        self._holder = None
        self.netns_fd = -1

    async def make(self, site, resolver: str | None, accounts: Path):
        """Makes the namespaces. Files that programs expect (resolver, accounts, /run) are this host's own."""
        etc = self.directory / "etc"
        etc.mkdir(exist_ok=True)
        (etc / "resolv.conf").write_text(f"nameserver {resolver}\noptions timeout:2 attempts:2\n" if resolver else "")
        (etc / "hosts").write_text("127.0.0.1 localhost\n" + "".join(f"{h.address} {h.fqdn} {h.name}\n" for h in site.hosts))
        lines = ["set -e", f"mount --bind {etc}/resolv.conf /etc/resolv.conf", f"mount --bind {etc}/hosts /etc/hosts",
                 *(f"mount --bind {accounts}/{name} /etc/{name}" for name in ("passwd", "shadow", "group")), "mount -t tmpfs tmpfs /run", "mkdir -p /run/lock", f"hostname {self.host.name}", "ip link set lo up",
                 "echo ready", "exec cat"]
        self._holder = await asyncio.create_subprocess_exec(
            "unshare", "--net", "--mount", "--uts", "sh", "-c", "\n".join(lines),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        answer = await self._holder.stdout.readline()
        if answer.strip() != b"ready":
            error = (await self._holder.stderr.read()).decode(errors="replace").strip()
            raise NamespaceError(f"{self.host.name}: cannot make a namespace: {error}")
        self.netns_fd = os.open(f"/proc/{self._holder.pid}/ns/net", os.O_RDONLY)

    @property
    def pid(self) -> int:
        """A process that lives in the namespaces, to enter them by."""
        return self._holder.pid

    async def configure(self, site):
        """Addresses, routes and the stack's settings, once the switch's device has been moved in."""
        host, stack = self.host, self.host.stack
        lan = host.zone == "lan"
        mtu_line = f"ip link set dev eth0 address {host.mac} up"
        lines = ["set -e", f"ip link set dev {host.tap} name eth0", mtu_line]
        for address in host.addresses4:
            lines.append(f"ip addr add {address}/{site.lan4.prefixlen if lan else 32} dev eth0")
        for address in host.addresses6:
            lines.append(f"ip -6 addr add {address}/{site.lan6.prefixlen if lan else 128} dev eth0 nodad")
        gateway4 = str(site.lan4[1]) if lan else "100.64.0.1"
        advmss = stack["mss"]
        rest = f"dev eth0 onlink advmss {advmss}"
        lines += [f"ip neigh replace {gateway4} lladdr {GATEWAY_MAC} nud permanent dev eth0",
                  f"ip route add default via {gateway4} {rest}"]
        if lan:
            lines.append(f"ip route change {site.lan4} dev eth0 src {host.address} advmss {advmss}")
        if host.addresses6:
            lines += [f"ip -6 neigh replace fe80::1 lladdr {GATEWAY_MAC} nud permanent dev eth0",
                      f"ip -6 route add default via fe80::1 dev eth0 src {host.address6} advmss {advmss - 20}"]
        rmem = stack["rmem_kib"] * 1024
        settings = {
            "net/ipv4/ip_default_ttl": stack["ttl"],
            "net/ipv4/tcp_window_scaling": stack["window_scaling"],
            "net/ipv4/tcp_timestamps": stack["timestamps"],
            "net/ipv4/tcp_sack": stack["sack"],
            "net/ipv4/tcp_rmem": f"4096 {rmem} {max(rmem, 6291456)}",
            "net/ipv4/tcp_congestion_control": stack["congestion"],
            "net/ipv6/conf/all/hop_limit": stack["ttl"],
            "net/ipv6/conf/eth0/accept_ra": 0,
            "net/ipv4/ip_local_port_range": "10240 65000",
            "net/ipv4/icmp_ratelimit": 100,
            "net/ipv4/ping_group_range": "0 2147483647",
            "net/ipv4/ip_unprivileged_port_start": 0,
        }
        for key, value in settings.items():
            # A kernel without one of these settings still gives traffic.
            lines.append(f"{{ echo '{value}' > /proc/sys/{key}; }} 2>/dev/null || true")
        process = await self.spawn(["sh", "-c", "\n".join(lines)], log=self.directory / "setup.log")
        if await process.wait() != 0:
            raise NamespaceError(f"{host.name}: {(self.directory / 'setup.log').read_text().strip()}")

    async def spawn(self, argv, *, log=None, env=None, cwd=None, stdin=None, stdout=None) -> asyncio.subprocess.Process:
        """Starts a program inside. Output goes to `log` unless `stdout` is given."""
        out = open(log, "ab") if log and stdout is None else stdout or subprocess.DEVNULL
        process = await asyncio.create_subprocess_exec(
            "nsenter", "-t", str(self.pid), "-n", "-m", "-u", f"--wd={cwd or self.directory}", *map(str, argv),
            stdin=stdin or subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT if stdout is None else subprocess.DEVNULL,
            env=os.environ | {"HOME": str(self.directory), "LC_ALL": "C.UTF-8"} | (env or {}), start_new_session=True)
        if log and stdout is None:
            out.close()
        self.programs.append(process)
        if len(self.programs) > 64:
            self.programs = [p for p in self.programs if p.returncode is None]
        return process

    async def end(self):
        """Ends every program and the namespace."""
        for process in self.programs:
            kill(process, signal.SIGTERM)
        running = [p for p in self.programs if p.returncode is None]
        if running:
            await asyncio.wait([asyncio.ensure_future(p.wait()) for p in running], timeout=3)
        for process in self.programs:
            kill(process, signal.SIGKILL)
        if self.netns_fd >= 0:
            os.close(self.netns_fd)
            self.netns_fd = -1
        if self._holder and self._holder.returncode is None:
            self._holder.stdin.close()
            await self._holder.wait()


def kill(process, number):
    """Signals a program and its children by their process group; the children may have outlived it."""
    try:
        os.killpg(process.pid, number)
    except (ProcessLookupError, PermissionError):
        pass
