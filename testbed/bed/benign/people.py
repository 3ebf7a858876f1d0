"""How people and machines pace themselves: sessions with quiet spells, and jobs on a period.

Owns: the instants at which sessions begin, and how many flows they are learned to make. Never a flow of its own. In: a
behaviour's context and its flows a minute. Out: one call of the session at a time, each with a context of its own.
"""

import asyncio
import random

# What a lossy network does to anyone: it ends the session, not the run.
ORDINARY = (OSError, EOFError, TimeoutError)
DESK_S = 150  # mean spell at the desk


class _Counted:
    """A truth that counts the rows of one session."""

    def __init__(self, truth):
        self._truth, self.rows = truth, 0

    def row(self, *values):
        self.rows += 1
        self._truth.row(*values)


class Habit:
    """One behaviour's sessions on one host."""

    def __init__(self, ctx, guess):
        self.ctx, self.flows = ctx, guess  # flows of a session: a guess, then learned
        self.running = 0

    async def one(self, session):
        """One session; what it did is counted, and ordinary network trouble ends it."""
        ctx = self.ctx.as_()
        ctx.truth, ctx.rng = _Counted(self.ctx.truth), random.Random(self.ctx.rng.getrandbits(48))
        self.running += 1
        try:
            await ctx.within(session(ctx))
            # A socket's row is written when it closes, a moment later.
            await ctx.sleep(0.1)
            self.flows += 0.15 * (max(ctx.truth.rows, 0.5) - self.flows)
        except ORDINARY:
            pass
        finally:
            self.running -= 1


async def sessions(ctx, per_min, guess, session, *, most=10, crowd=False):
    """Calls `session(ctx)` at random instants with quiet spells between, so that `per_min` flows a minute come out.

    `guess`: flows of a typical session. `most`: sessions at once; beyond that they are put off. A `crowd` is never away.
    """
    rng, habit = ctx.rng, Habit(ctx, guess)
    duty = 1.0 if crowd else rng.uniform(0.4, 1.0)  # the share of time in which this user is at the desk
    desk_s = rng.expovariate(1 / DESK_S) if rng.random() < duty else 0.0
    while per_min > 0:
        wait_s = rng.expovariate(per_min / habit.flows / 60 / duty)
        desk_s -= wait_s
        while desk_s < 0 and duty < 0.95:
            away_s = rng.expovariate(duty / (1 - duty) / DESK_S)
            desk_s += rng.expovariate(1 / DESK_S)
            wait_s += away_s
        await ctx.sleep(wait_s)
        while habit.running >= most:
            await ctx.sleep(1)
        if ctx.left_s < 3:
            return
        ctx.spawn(habit.one(session))


async def jobs(ctx, per_min, guess, session):
    """Calls `session(ctx)` on a period with a little jitter, one at a time: what schedulers do."""
    rng, habit = ctx.rng, Habit(ctx, guess)
    jitter = rng.choice((0.0, 0.01, 0.05, 0.2))
    phase = rng.random()
    while per_min > 0:
        period_s = 60 * habit.flows / per_min
        await ctx.sleep(period_s * phase)
        if ctx.left_s < 3:
            return
        began_us = ctx.now_us()
        await habit.one(session)
        spent_s = (ctx.now_us() - began_us) / 1e6
        phase = max(1 + rng.uniform(-jitter, jitter) - spent_s / period_s, 0.02)


def address(ctx, host):
    """One of a host's addresses: IPv6 for some clients, where both have it."""
    prefers6 = ctx.host.seed % 3 == 0
    if host.address6 and ctx.host.address6 and prefers6 and ctx.rng.random() < 0.8:
        return ctx.rng.choice(host.addresses6)
    return ctx.rng.choice(host.addresses4)


async def find(ctx, host):
    """Looks a host's name up, as programs do, and gives one of its addresses."""
    if ctx.host.zone == "lan" and ctx.rng.random() < 0.7:
        kinds = ("A", "AAAA") if ctx.host.address6 else ("A",)
        await asyncio.gather(*(ctx.resolve(host.fqdn, kind) for kind in kinds))
    return address(ctx, host)
