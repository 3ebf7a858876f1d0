"""What hostile episodes share: whom they attack, within which bounds, at what pace, with how many hands.

Owns: the choice of targets that the span port sees, budgets of flows and time, pauses between attempts. Never opens a
socket and writes no truth but that of programs it ran. In: a context. Out: hosts, pauses, finished work.
"""

import asyncio
import math
import random


def zone_of_targets(ctx, where: str | None = None) -> str:
    """Attackers outside attack the LAN; infected hosts mostly their neighbours, now and then the internet."""
    if ctx.host.zone == "wan":
        return "lan"
    return where or ctx.rng.choices(("lan", "wan"), (4, 1))[0]


def victims(ctx, *services: str, where: str | None = None) -> list:
    """Hosts that offer one of the services, in the zone that is attacked (or the other one, if nobody there does)."""

    def inside(zone):
        return [
            h
            for h in ctx.site.hosts
            if h is not ctx.host
            and h.zone == zone
            and h.role != "attacker"
            and any(h.offers(name) for name in services)
        ]

    zone = zone_of_targets(ctx, where)
    found = inside(zone)
    if not found and where is None and ctx.host.zone == "lan":
        found = inside("lan" if zone == "wan" else "wan")
    return found


def victim(ctx, *services: str, where: str | None = None):
    """One of `victims`; there must be one."""
    found = victims(ctx, *services, where=where)
    if not found:
        raise LookupError(f"nobody to attack offers {' or '.join(services)}")
    return ctx.rng.choice(found)


def address_of(ctx, host, six_share: float = 0.15) -> str:
    """One of a host's IPv4 addresses, now and then its IPv6 address if we have one as well."""
    if host.address6 and ctx.host.address6 and ctx.rng.random() < six_share:
        return host.address6
    return ctx.rng.choice(host.addresses4)


def url(host: str, port: int, tls: bool, path: str = "/") -> str:
    """A URL by address."""
    literal = f"[{host}]" if ":" in host else host
    return f"{'https' if tls else 'http'}://{literal}:{port}{path}"


class Bounds:
    """What is left of an episode: flows and seconds."""

    def __init__(self, ctx, flows: int, seconds: float):
        self._ctx, self.flows = ctx, flows
        self._until_us = ctx.now_us() + round(seconds * 1e6)

    @property
    def left_s(self) -> float:
        """Seconds left, of the episode and of the run."""
        return min((self._until_us - self._ctx.now_us()) / 1e6, self._ctx.left_s)

    def take(self, flows: int = 1) -> bool:
        """Takes flows off the budget; false once it is spent or time is up."""
        if self.flows < flows or self.left_s <= 0:
            return False
        self.flows -= flows
        return True


class Pace:
    """Pauses between attempts, `per_s` a second on average, in one of five manners."""

    MANNERS = ("steady", "jittered", "random", "human", "bursts")

    def __init__(self, rng: random.Random, per_s: float, manner: str | None = None):
        self._rng, self.mean_s = rng, 1 / per_s
        self.manner = manner or rng.choice(self.MANNERS)
        self._spread = rng.uniform(0.02, 0.9) if self.manner == "jittered" else rng.uniform(0.0, 0.05)
        self._burst = rng.randint(3, 20)
        self._done = 0

    def pause_s(self) -> float:
        """How long to wait before the next attempt."""
        rng, mean_s = self._rng, self.mean_s
        if self.manner == "random":
            return rng.expovariate(1 / mean_s)
        if self.manner == "human":
            return min(rng.lognormvariate(math.log(mean_s) - 0.32, 0.8), 20 * mean_s)
        if self.manner == "bursts":
            self._done += 1
            quick_s = 0.15 * mean_s
            if self._done % self._burst:
                return quick_s * rng.uniform(0.5, 1.5)
            return (mean_s * self._burst - quick_s * (self._burst - 1)) * rng.uniform(0.6, 1.4)
        return mean_s * rng.uniform(1 - self._spread, 1 + self._spread)


async def together(ctx, coroutines) -> None:
    """Runs parts of an episode side by side and waits for all; cancels them if the episode is cancelled."""
    tasks = [ctx.spawn(each) for each in coroutines]
    ctx.clock.actor(-1)  # we only wait: packet time may jump when all parts sleep
    try:
        await asyncio.gather(*tasks, return_exceptions=True)
    finally:
        ctx.clock.actor(1)
        for task in tasks:
            task.cancel()


async def attempts(ctx, bounds: Bounds, pace: Pace, hands: int, attempt, cost: int = 1) -> None:
    """Calls `attempt()` at a pace, at most `hands` at once, until the bounds are reached or it returns False."""
    over = False

    async def work(number):
        nonlocal over
        await ctx.sleep(pace.mean_s * number)
        while not over and bounds.take(cost):
            if await attempt() is False:
                over = True
                return
            await ctx.sleep(min(pace.pause_s() * hands, max(bounds.left_s, 0)))

    if hands == 1:
        await work(0)
    else:
        await together(ctx, [work(n) for n in range(hands)])


def opened_connections(ctx) -> int:
    """TCP connections that the host has opened since it exists, by its kernel's counter."""
    with open(f"/proc/{ctx.host.machine.pid}/net/snmp") as counters:
        names, values = (line.split() for line in counters if line.startswith("Tcp:"))
    return int(values[names.index("ActiveOpens")])


async def run_bounded(ctx, argv, *, to, flows: int, seconds: float, **options) -> None:
    """Runs a program that knows no end of its own: until it has opened `flows` connections or time is up."""
    first = opened_connections(ctx)
    program = asyncio.ensure_future(ctx.run(argv, to=to, timeout_s=seconds, **options))
    try:
        while not program.done() and opened_connections(ctx) - first < flows:
            await asyncio.wait([program], timeout=0.05)
    finally:
        program.cancel()
        await asyncio.gather(program, return_exceptions=True)
