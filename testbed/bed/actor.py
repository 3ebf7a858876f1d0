"""Actors: what a behaviour gets to work with (`Context`), and what a service gets (`ServiceContext`).

Owns: sleeping, resolving names, running programs, and the truth rows of programs. In: a host, the site, the catalogue's
entry. Out: traffic, truth.
"""

import asyncio
import random
import signal
import socket
import subprocess
from pathlib import Path

from . import namespaces
from .sockets import ACTOR


class Finished:
    """A program's end: its exit status and output (at most 1 MiB)."""

    def __init__(self, status, output):
        self.status, self.output = status, output


class Context:
    """One behaviour on one host. Python sockets opened in its tasks are the host's, and write their own truth."""

    def __init__(self, bed, host, what, seed):
        self.bed, self.site, self.truth, self.clock = bed, bed.site, bed.truth, bed.clock
        self.host, self.what = host, what
        self.rng = random.Random(seed)
        self.source4 = self.source6 = None
        self.beside = 0  # tasks started by `spawn` that still run

    # Time.

    def now_us(self) -> int:
        """Packet time, microseconds since the epoch."""
        return self.clock.now_us()

    @property
    def left_s(self) -> float:
        """Seconds of packet time until the run ends."""
        return (self.bed.end_us - self.now_us()) / 1e6

    async def sleep(self, seconds: float):
        """Sleeps in packet time. Never use asyncio.sleep for pauses between pieces of traffic."""
        await self.clock.sleep(seconds)

    async def poisson(self, per_min: float):
        """Yields at random instants, `per_min` a minute on average, until the run ends."""
        while per_min > 0:
            await self.sleep(self.rng.expovariate(per_min / 60))
            if self.left_s < 2:
                return
            yield

    def spawn(self, coroutine) -> asyncio.Task:
        """Runs a part of the behaviour beside it (at most 256 at once: beyond that it is dropped and counted)."""
        return self.bed.spawn(self, coroutine)

    # Addresses.

    def pick_source(self):
        """From now on Python sockets of this context leave from a random one of the host's addresses."""
        self.source4 = self.rng.choice(self.host.addresses4)
        self.source6 = self.rng.choice(self.host.addresses6) if self.host.addresses6 else None

    def peers(self, service: str, zone: str | None = None) -> list:
        """Other hosts that offer a service, but none whose traffic with this one no tap of the site sees."""
        return [host for host in self.site.servers(service, zone)
                if host is not self.host and "lan" in (host.zone, self.host.zone)]

    def source_for(self, family):
        """The source address of the next Python socket."""
        if family == socket.AF_INET6:
            return self.source6 or self.host.address6
        return self.source4 or self.host.address

    def as_(self, **changes):
        """A copy of this context whose truth rows carry another name, tool or technique; for use with `within`."""
        copy = Context.__new__(Context)
        copy.__dict__.update(self.__dict__)
        copy.what = self.what.variant(**changes)
        return copy

    async def within(self, coroutine):
        """Runs a coroutine as this context's actor (needed after `as_`)."""
        token = ACTOR.set(self)
        try:
            return await coroutine
        finally:
            ACTOR.reset(token)

    async def resolve(self, name: str, kind: str = "A", *, server=None, timeout_s: float = 2.0) -> list[str]:
        """Asks the site's resolver (real UDP traffic); gives addresses or texts, [] if there are none."""
        import dnslib
        server = server or self.bed.resolver
        if server is None:
            return []
        question = dnslib.DNSRecord.question(name, kind)
        loop = asyncio.get_running_loop()
        answer = loop.create_future()

        class Client(asyncio.DatagramProtocol):
            def datagram_received(self, data, _address):
                if not answer.done():
                    answer.set_result(data)

            def error_received(self, error):
                if not answer.done():
                    answer.set_exception(error)

        transport, _ = await loop.create_datagram_endpoint(Client, remote_addr=(server, 53))
        try:
            transport.sendto(question.pack())
            reply = dnslib.DNSRecord.parse(await asyncio.wait_for(answer, timeout_s))
            return [str(record.rdata) for record in reply.rr if dnslib.QTYPE[record.rtype] == kind]
        except (TimeoutError, OSError, dnslib.DNSError):
            return []
        finally:
            transport.close()

    # Programs.

    async def run(self, argv, *, to=(), timeout_s: float = 60, env=None, cwd=None, stdin: bytes | None = None,
                  source=None, what=None) -> Finished:
        """Runs a program in the host until it ends or its time is up, and writes the truth of its targets.

        `to`: targets as (address, port, protocol), port "" or a range "1-1024" where there are many, protocol "*" for all.
        An address may be a CIDR.
        """
        start_us = self.now_us()
        self.clock.busy(1)
        process = None
        try:
            process = await self.host.machine.spawn(
                argv, env=env, cwd=cwd, stdin=subprocess.PIPE if stdin is not None else None, stdout=subprocess.PIPE)
            try:
                output = await asyncio.wait_for(_output(process, stdin), timeout_s)
            except TimeoutError:
                output = b""
            return Finished(process.returncode, output)
        finally:
            if process is not None:
                if process.returncode is None:
                    namespaces.kill(process, signal.SIGTERM)
                    try:
                        await asyncio.wait_for(process.wait(), 2)
                    except TimeoutError:
                        pass
                # Some tools leave children behind that go on for ever.
                namespaces.kill(process, signal.SIGKILL)
            self.clock.busy(-1)
            self.window(to, start_us, source=source, what=what)

    async def start(self, argv, *, env=None, cwd=None, stdin=None, stdout=None) -> asyncio.subprocess.Process:
        """Starts a program that runs beside the behaviour. Call `window` when it has ended; it dies with the run."""
        return await self.host.machine.spawn(argv, env=env, cwd=cwd, stdin=stdin, stdout=stdout)

    def window(self, to, start_us: int, *, source=None, what=None):
        """Writes truth rows for a program's targets, from `start_us` until now."""
        end_us = self.now_us()
        for address, port, protocol in to:
            from_ = source or (self.host.address6 if ":" in address else self.host.address)
            self.truth.row(what or self.what, start_us, end_us, from_, "", address, port, protocol)

    @property
    def directory(self) -> Path:
        """A scratch folder of this host."""
        return self.host.machine.directory


async def _output(process, stdin):
    if stdin is not None:
        process.stdin.write(stdin)
        process.stdin.close()
    kept = bytearray()
    while chunk := await process.stdout.read(65536):
        if len(kept) < 1 << 20:
            kept += chunk
    await process.wait()
    return bytes(kept)


class ServiceContext:
    """One service on one host."""

    def __init__(self, bed, host, service):
        self.bed, self.site, self.host, self.options = bed, bed.site, host, service.options
        self.name = service.name
        self.rng = random.Random(f"{host.seed}/{service.name}")
        self.directory = host.machine.directory / service.name
        self.directory.mkdir(parents=True, exist_ok=True)

    def port(self, default: int) -> int:
        """The port: the scenario's `port` option, or the usual one."""
        return int(self.options.get("port", default))

    async def spawn(self, argv, *, env=None, cwd=None):
        """Starts a program that serves until the run ends."""
        return await self.host.machine.spawn(argv, log=self.directory / "log", env=env, cwd=cwd or self.directory)

    async def once(self, argv, *, env=None, timeout_s: float = 60) -> bytes:
        """Runs a preparing program (a database's initialisation) to its end; raises if it fails."""
        process = await self.host.machine.spawn(argv, env=env, cwd=self.directory, stdout=subprocess.PIPE)
        output = await asyncio.wait_for(_output(process, None), timeout_s)
        if process.returncode != 0:
            raise RuntimeError(f"{self.host.name}: {argv[0]} ended with {process.returncode}: {output[-400:]!r}")
        return output

    async def python(self, module: str, *arguments):
        """Serves with a Python module of this package: `python3 -m bed.services.MODULE ARGUMENTS`."""
        return await self.spawn([self.bed.python, "-m", f"bed.services.{module}", *map(str, arguments)],
                                env={"PYTHONPATH": str(self.bed.root)}, cwd=self.directory)

    async def ready(self, port: int, *, timeout_s: float = 30):
        """Waits until a TCP port answers on the host's loopback (no packet reaches the wire)."""
        script = ("import socket,sys,time\nend=time.time()+float(sys.argv[2])\nwhile time.time()<end:\n"
                  " try: socket.create_connection(('127.0.0.1',int(sys.argv[1])),1).close(); sys.exit(0)\n"
                  " except OSError: time.sleep(.1)\nsys.exit(1)")
        await self.once([self.bed.python, "-c", script, str(port), str(timeout_s)], timeout_s=timeout_s + 10)
