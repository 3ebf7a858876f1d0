"""Packet time. True: the machine's clock. Skip-idle: packet time jumps over spans in which nobody has anything to say.

Owns: the offset between the two, and every sleep of an actor. Never jumps while a program runs, a connection waits or a
frame is under way. In: sleeps. Out: the time, and `advance` commands to the switch, which stamps the packets.
"""

import asyncio
import heapq
import itertools
import time

QUIET_US = 400_000


class Clock:
    """The time of one run."""

    def __init__(self, skip_idle: bool):
        self.offset_us = 0
        self._skip = skip_idle
        self._sleeping = []
        self._order = itertools.count()
        self._actors = 0
        self._busy = 0

    def now_us(self) -> int:
        """Microseconds since the epoch, as the packets are stamped."""
        return time.time_ns() // 1000 + self.offset_us

    def actor(self, change: int):
        """An actor began (1) or ended (-1)."""
        self._actors += change

    def busy(self, change: int):
        """Something began (1) or ended (-1) during which time must not jump, even if its actor sleeps."""
        self._busy += change

    async def sleep(self, seconds: float):
        """Sleeps in packet time."""
        if not self._skip or seconds < 0.5:
            await asyncio.sleep(max(seconds, 0))
            return
        woken = asyncio.get_running_loop().create_future()
        entry = (self.now_us() + round(seconds * 1e6), next(self._order), woken)
        heapq.heappush(self._sleeping, entry)
        try:
            await woken
        finally:
            if entry in self._sleeping:
                self._sleeping.remove(entry)
                heapq.heapify(self._sleeping)

    async def run(self, wire):
        """Wakes sleepers, and jumps when all sleep and the wire is quiet. Runs until cancelled."""
        if not self._skip:
            return
        while True:
            while self._sleeping and (self._sleeping[0][0] <= self.now_us() or self._sleeping[0][2].done()):
                woken = heapq.heappop(self._sleeping)[2]
                if not woken.done():
                    woken.set_result(None)
            await asyncio.sleep(0.02)
            if not self._sleeping or self._busy or len(self._sleeping) < self._actors:
                continue
            ahead = self._sleeping[0][0] - self.now_us()
            if ahead < 700_000:
                continue
            age_us, queued = await wire.idle()
            if age_us >= QUIET_US and queued == 0 and self._sleeping and len(self._sleeping) >= self._actors:
                jump = self._sleeping[0][0] - self.now_us() - 50_000
                if jump > 0:
                    await wire.advance(jump)
                    self.offset_us += jump
