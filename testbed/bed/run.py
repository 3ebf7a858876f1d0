"""One run of one site, top to bottom: plan, namespaces, switch, services, actors, end.

Owns: the order of things and the run's directory. In: a scenario, a seed. Out: span.pcap, truth.csv, run.json, log/.
"""

import asyncio
import json
import logging
import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path

from . import accounts, catalog, plan, sockets
from .actor import Context, ServiceContext
from .clock import Clock
from .namespaces import Machine
from .truth import Truth
from .wire import Wire

TASKS_MAX = 256
GRACE_S = 3.0


class Bed:
    """A site that runs."""

    def __init__(self, scenario, out: Path, seed: int, minutes: float | None, wire_program: Path):
        self.scenario, self.out, self.seed = scenario, out, seed
        self.minutes = minutes or scenario.minutes
        self.python = sys.executable
        self.root = Path(__file__).resolve().parent.parent
        self.run_id = f"{scenario.name}-{seed:08x}"
        self.site = plan.draw(scenario, seed, self.run_id)
        self.clock = Clock(scenario.clock == "skip-idle")
        self.wire = Wire(str(wire_program))
        self.resolver = None
        self.end_us = 0
        self.failures: dict[str, int] = {}
        self.last_errors: dict[str, str] = {}
        self.dropped_tasks = 0
        self.absent: set[str] = set()
        self.cut = False
        self._tasks: set[asyncio.Task] = set()

    async def run(self):
        """Runs the site and returns what goes into run.json."""
        self.out.mkdir(parents=True, exist_ok=True)
        span = self.out / "span.pcap"
        self.truth = Truth(self.out / "truth.csv", self.run_id, self.scenario.name)
        began = time.time()
        counters, services_up_s = {}, 0.0
        try:
            await self._make_hosts(span)
            await self._start_services()
            services_up_s = time.time() - began
            self._say(f"{len(self.site.hosts)} hosts, services up after {services_up_s:.0f} s")
            start_us = self.clock.now_us()
            self.end_us = start_us + round(self.minutes * 60e6)
            await self._act()
        finally:
            await self._end_tasks()
            sockets.write_open()
            end_us = self.clock.now_us()
            self._write_background(round(began * 1e6), end_us)
            try:
                counters = await self.wire.stop() if self.wire.started else {}
            finally:
                await asyncio.gather(*(h.machine.end() for h in self.site.hosts if h.machine), return_exceptions=True)
                self.truth.close()
                shutil.rmtree(self.out / "hosts", ignore_errors=True)
        report = {
            "run": self.run_id, "site": self.scenario.name, "scenario": self.scenario.file, "split": self.scenario.split,
            "seed": self.seed, "minutes": self.minutes, "clock": self.scenario.clock, "skipped_us": self.clock.offset_us,
            "start_us": start_us, "end_us": end_us, "wall_s": round(time.time() - began, 1),
            "services_up_s": round(services_up_s, 1), "cut": self.cut, "truth_rows": self.truth.counts, "failures": self.failures,
            "last_errors": self.last_errors, "absent": sorted(self.absent), "dropped_tasks": self.dropped_tasks, "wire": counters,
            "hosts": [{"name": h.name, "zone": h.zone, "role": h.role, "services": [s.name for s in h.services],
                       "addresses": h.addresses4 + h.addresses6, "path": h.path, "hops": h.hops, "stack": h.stack,
                       "vlan": h.vlan} for h in self.site.hosts],
        }
        (self.out / "run.json").write_text(json.dumps(report, indent=1))
        return report

    def _write_background(self, start_us, end_us):
        """What nobody in particular does: the resolver asks on, kernels look for their neighbours."""
        forward = catalog.Behaviour("dns-forward", "benign", "dnsmasq", "", None)
        for resolver in self.site.servers("resolver"):
            for upstream in self.site.servers("internet-dns"):
                for protocol in ("udp", "tcp"):
                    self.truth.row(forward, start_us, end_us, resolver.address, "", upstream.address, 53, protocol)
        neighbours = catalog.Behaviour("neighbour-discovery", "benign", "kernel", "", None)
        for source, destination in (("fe80::/10", "*"), ("*", "ff02::/16")):
            self.truth.row(neighbours, start_us, end_us, source, "", destination, "", "icmp6")

    async def _make_hosts(self, span):
        directory = self.out / "hosts"
        shutil.rmtree(directory, ignore_errors=True)
        accounts.write(self.site, directory / "accounts")
        resolvers = self.site.servers("resolver")
        self.resolver = resolvers[0].address if resolvers else None
        await self.wire.start(self.site, span, self.scenario.snaplen, self.out / "wire.json")
        for host in self.site.hosts:
            host.machine = Machine(host, directory / host.name)
        await asyncio.gather(*(h.machine.make(self.site, self.resolver, directory / "accounts") for h in self.site.hosts))
        for host in self.site.hosts:
            await _checked("ip", "link", "set", "dev", host.tap, "netns", str(host.machine.pid))
        await asyncio.gather(*(h.machine.configure(self.site) for h in self.site.hosts))

    async def _start_services(self):
        gate = asyncio.Semaphore(4)  # a few at a time: databases are slow to initialise

        async def start(host, service):
            async with gate:
                try:
                    await catalog.SERVICES[service.name](ServiceContext(self, host, service))
                except Exception as error:
                    self._failed(f"service {service.name} on {host.name}", error)
        await asyncio.gather(*(start(h, s) for h in self.site.hosts for s in h.services))

    async def _act(self):
        rng = random.Random(f"{self.seed}/schedule")
        clock = asyncio.create_task(self.clock.run(self.wire))
        for entry in self.scenario.benign:
            hosts = self.site.select(entry.hosts)
            for host in hosts:
                context = Context(self, host, catalog.BEHAVIOURS[entry.behaviour], rng.getrandbits(48))
                call = context.what.call(context, per_min=entry.per_min / len(hosts), **entry.options)
                self._task(context, self._guard(context, call))
        length_s = self.minutes * 60
        booked = {host.name: [] for host in self.site.hosts}
        for entry in self.scenario.hostile:
            hosts = self.site.select(entry.hosts)
            for episode in range(entry.episodes if hosts else 0):
                seconds = min(entry.seconds, 0.9 * length_s)
                latest = max(0.94 * length_s - seconds, 0.03 * length_s)
                # Episodes of one behaviour are spread over the run, not heaped.
                share = (episode + rng.random()) / entry.episodes
                delay_s = 0.02 * length_s + share * (latest - 0.02 * length_s)
                host = _least_booked(rng.sample(hosts, len(hosts)), booked, delay_s, delay_s + seconds)
                context = Context(self, host, catalog.BEHAVIOURS[entry.behaviour], rng.getrandbits(48))
                self._task(context, self._guard(context, self._episode(context, entry, delay_s, seconds)))
        self.clock.actor(1)  # our own sleep counts as one: without this, time jumps while the last actor awaits an answer
        try:
            await asyncio.wait_for(self.clock.sleep(length_s), self.scenario.wall_minutes * 60)
        except TimeoutError:
            self.cut = True
            self._say("cut: the scenario's wall_minutes are over")
        await self._end_tasks()
        await asyncio.sleep(GRACE_S)
        clock.cancel()

    async def _episode(self, context, entry, delay_s, seconds):
        await context.sleep(delay_s)
        call = context.what.call(context, flows=entry.flows, seconds=seconds, **entry.options)
        if self.scenario.clock == "skip-idle":
            await call  # bounded by packet time inside
        else:
            await asyncio.wait_for(call, seconds * 1.5 + 20)

    async def _guard(self, context, call):
        try:
            await call
        except asyncio.CancelledError:
            raise
        except Exception as error:
            if type(error) is LookupError:  # the site lacks a service: this behaviour is not for it
                self.absent.add(context.what.name)
            else:
                self._failed(f"{context.what.name} on {context.host.name}", error)

    def spawn(self, context, coroutine):
        """A task of an actor, bounded."""
        if context.beside >= TASKS_MAX:
            self.dropped_tasks += 1
            coroutine.close()
            return asyncio.get_running_loop().create_task(asyncio.sleep(0))
        context.beside += 1
        task = self._task(context, self._guard(context, coroutine))

        def ended(_task):
            context.beside -= 1
        task.add_done_callback(ended)
        return task

    def _task(self, context, coroutine):
        async def acting():
            sockets.ACTOR.set(context)
            self.clock.actor(1)
            try:
                await coroutine
            finally:
                self.clock.actor(-1)
        task = asyncio.get_running_loop().create_task(acting(), name=f"{context.what.name} on {context.host.name}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _end_tasks(self):
        """Cancels all actors. One that will not end (a library may swallow the cancellation) is named and left behind."""
        for _ in range(3):
            running = [task for task in self._tasks if not task.done()]
            for task in running:
                task.cancel()
            if running:
                await asyncio.wait(running, timeout=3)
        for task in self._tasks:
            if not task.done():
                self._failed(f"{task.get_name()} did not end", RuntimeError(str(task.get_stack(limit=1))))
        self._tasks = set()

    def _failed(self, what, error):
        self.failures[what] = self.failures.get(what, 0) + 1
        self.last_errors[what] = f"{type(error).__name__}: {error}"[:300]
        if self.failures[what] == 1:
            self._say(f"failed: {what}: {self.last_errors[what]}")

    def _say(self, text):
        print(f"site {self.scenario.name}: {text}", file=sys.stderr, flush=True)


def _least_booked(hosts, booked, start_s, end_s):
    """The host that has the least else to do meanwhile: two programs at once on one target are hard to tell apart."""
    def overlap(host):
        return sum(max(0.0, min(end, end_s) - max(start, start_s)) for start, end in booked[host.name])
    host = min(hosts, key=overlap)
    booked[host.name].append((start_s, end_s))
    return host


async def _checked(*argv):
    process = await asyncio.create_subprocess_exec(*argv, stderr=asyncio.subprocess.PIPE)
    _, error = await process.communicate()
    if process.returncode != 0:
        raise RuntimeError(f"{' '.join(argv)}: {error.decode(errors='replace').strip()}")


def main(arguments, scenario):
    """Runs a loaded scenario in this process, which must be alone in its namespaces (see testbed/run)."""
    catalog.load()
    logging.disable()
    sockets.install()
    asyncio.set_child_watcher(asyncio.PidfdChildWatcher())
    seed = arguments.seed if arguments.seed is not None else int.from_bytes(os.urandom(4))
    bed = Bed(scenario, arguments.out, seed, arguments.minutes, arguments.wire)

    async def until_signal():
        loop = asyncio.get_running_loop()
        # Libraries complain here of connections that hostile or broken traffic ended; the run's report counts what failed.
        loop.set_exception_handler(lambda _loop, _context: None)
        me = asyncio.current_task()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, me.cancel)
        return await bed.run()

    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    return loop.run_until_complete(until_signal())
