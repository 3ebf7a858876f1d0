"""Plant traffic: masters that poll with fixed periods, on connections held for long or made anew for each poll.

Owns: clients of `modbus`, `dnp3` and `opcua`. Never writes faster than it polls. In: flows a minute. Out: polling.
"""

import asyncio
import contextlib
import struct

from ..catalog import benign
from ..draws import log_uniform
from ..services.industrial import (
    DNP3_PORT,
    MODBUS_PORT,
    OPCUA_PORT,
    dnp3_frame,
    dnp3_read,
    modbus_units,
)
from .pace import NETWORK_ERRORS, address_of, connected, every, need, periods, sessions


@benign("modbus-polling", tool="asyncio")
async def modbus_polling(ctx, per_min, style=None):
    """Modbus masters; style: persistent, reconnect (a connection for each poll) or both (each host chooses)."""
    hosts = need(ctx, "modbus")
    style = style or ctx.rng.choice(["persistent", "persistent", "reconnect", "both"])

    async def persistent(lifetime_s):
        host, end_us = ctx.rng.choice(hosts), ctx.now_us() + lifetime_s * 1e6
        master = ModbusMaster(ctx, host)
        with contextlib.suppress(*NETWORK_ERRORS):
            async with connected(address_of(ctx, host), host.port("modbus", MODBUS_PORT)) as (reader, writer):
                async for _ in every(ctx, log_uniform(ctx.rng, 0.1, 10)):
                    await master.poll(reader, writer)
                    if ctx.now_us() > end_us:
                        return

    async def reconnecting(period_s):
        host = ctx.rng.choice(hosts)
        master, address = ModbusMaster(ctx, host), address_of(ctx, host)
        async for _ in every(ctx, period_s):
            with contextlib.suppress(*NETWORK_ERRORS):
                async with connected(address, host.port("modbus", MODBUS_PORT), timeout_s=3,
                                     reset=master.resets) as (reader, writer):
                    await master.poll(reader, writer)

    if style in ("reconnect", "both"):
        for period_s in periods(ctx.rng, per_min * (0.8 if style == "both" else 1), 0.5, 60, most=12):
            ctx.spawn(reconnecting(period_s))
    if style in ("persistent", "both"):
        await sessions(ctx, per_min * (0.2 if style == "both" else 1), persistent, 20, 900)


class ModbusMaster:
    """What one master asks, always the same: units, blocks of registers, now and then a write or a wrong address."""

    def __init__(self, ctx, host):
        rng = ctx.rng
        self.rng, self.transaction = rng, rng.randrange(1000)
        units = modbus_units(host)
        self.blocks = [(rng.randint(1, units + (rng.random() < 0.2)), rng.choice([1, 2, 3, 3, 3, 4]),
                        rng.randrange(0, 90, 10), rng.choice([1, 2, 10, 10, 40, 100])) for _ in range(rng.choice([1, 1, 2, 4, 8]))]
        self.write_share = rng.choice([0, 0, 0.02, 0.2])
        self.resets = rng.random() < 0.3

    async def poll(self, reader, writer):
        """One round over the blocks."""
        for unit, function, start, count in self.blocks:
            await self._ask(reader, writer, unit, struct.pack(">BHH", function, start, count))
        if self.rng.random() < self.write_share:
            await self._ask(reader, writer, 1, struct.pack(">BHH", 6, self.rng.randrange(90), self.rng.randrange(65536)))

    async def _ask(self, reader, writer, unit, request):
        self.transaction = (self.transaction + 1) & 0xFFFF
        writer.write(struct.pack(">HHHB", self.transaction, 0, len(request) + 1, unit) + request)
        await writer.drain()
        head = await reader.readexactly(7)
        await reader.readexactly(struct.unpack(">H", head[4:6])[0] - 1)


@benign("dnp3-polling", tool="asyncio")
async def dnp3_polling(ctx, per_min):
    """A DNP3 master: integrity and event polls, confirmations of the outstation's own reports, link tests."""
    hosts = need(ctx, "dnp3")

    async def session(lifetime_s):
        host, end_us = ctx.rng.choice(hosts), ctx.now_us() + lifetime_s * 1e6
        with contextlib.suppress(*NETWORK_ERRORS, ValueError):
            async with connected(address_of(ctx, host), host.port("dnp3", DNP3_PORT)) as (reader, writer):
                listening = asyncio.create_task(_dnp3_confirm(reader, writer))
                try:
                    await _dnp3_ask(ctx, writer, end_us)
                finally:
                    listening.cancel()

    await sessions(ctx, per_min, session, 30, 900)


async def _dnp3_ask(ctx, writer, end_us):
    outstation, master, sequence, number = ctx.rng.randrange(1, 60), ctx.rng.randrange(1, 10), 0, 0
    integrity_every = ctx.rng.choice([5, 20, 60])
    async for _ in every(ctx, log_uniform(ctx.rng, 0.5, 20)):
        if ctx.now_us() > end_us or writer.is_closing():
            return
        classes = (1, 2, 3, 4) if number % integrity_every == 0 else (2, 3, 4)
        objects = b"".join(bytes([60, each, 6]) for each in classes)
        writer.write(dnp3_frame(0xC4, outstation, master, bytes([0xC0, 0xC0 | sequence, 1]) + objects))
        await writer.drain()
        sequence, number = (sequence + 1) % 16, number + 1


async def _dnp3_confirm(reader, writer):
    with contextlib.suppress(*NETWORK_ERRORS, ValueError):
        while True:
            _, us, outstation, payload = await dnp3_read(reader)
            if len(payload) > 2 and payload[2] == 0x82:
                writer.write(dnp3_frame(0xC4, outstation, us, bytes([0xC0, 0xD0 | payload[1] & 0x0F, 0])))


@benign("opcua-polling", tool="asyncua")
async def opcua_polling(ctx, per_min):
    """OPC UA clients: sessions that read tags each period, or subscribe to them."""
    hosts = need(ctx, "opcua")

    async def session(lifetime_s):
        from asyncua import Client, ua
        host, end_us = ctx.rng.choice(hosts), ctx.now_us() + lifetime_s * 1e6
        client = Client(f"opc.tcp://{host.address}:{host.port('opcua', OPCUA_PORT)}/plant", timeout=10)
        client.session_timeout = 600_000  # what servers grant
        with contextlib.suppress(*NETWORK_ERRORS, ua.UaError):
            async with client:
                tags = [client.get_node(f"ns=2;s=tag{n}") for n in range(ctx.rng.choice([1, 4, 12]))]
                if ctx.rng.random() < 0.4:
                    subscription = await client.create_subscription(ctx.rng.choice([250, 500, 1000, 5000]), _Ignored())
                    await subscription.subscribe_data_change(tags)
                    await ctx.sleep(lifetime_s)
                    return
                async for _ in every(ctx, log_uniform(ctx.rng, 0.3, 10)):
                    await client.read_values(tags)
                    if ctx.now_us() > end_us:
                        return

    await sessions(ctx, per_min, session, 30, 600)


class _Ignored:
    def datachange_notification(self, node, value, data):
        """The values are of no interest."""
