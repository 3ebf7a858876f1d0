"""Machines that report: sensors, syslog, metrics, heartbeats, cameras, printers.

Owns: clients of `mqtt`, `collector`, `camera`, `printer`. Heartbeats look like beacons of malicious software, on purpose,
and are none. In: flows a minute. Out: reports.
"""

import asyncio
import contextlib
import struct

from ..catalog import benign
from ..draws import log_uniform
from ..services import telemetry as servers
from ..tls import unverified
from .pace import (
    NETWORK_ERRORS,
    address_of,
    connected,
    datagrams,
    every,
    http,
    need,
    periods,
    sessions,
    tls_port,
)


@benign("heartbeat-udp", tool="asyncio")
async def heartbeat_udp(ctx, per_min, low_s=1, high_s=600, zone=None):
    """Tiny datagrams to a collector each period, answered or not; a socket held for long, or one a beat."""
    hosts = need(ctx, "collector", zone)

    async def held(lifetime_s):
        host, end_us = ctx.rng.choice(hosts), ctx.now_us() + lifetime_s * 1e6
        payload, wait_s = _beat(ctx.rng), ctx.rng.choice([0, 1, 3])
        async with datagrams(address_of(ctx, host), servers.BEAT_PORT) as line:
            async for _ in every(ctx, log_uniform(ctx.rng, low_s, 60)):
                with contextlib.suppress(*NETWORK_ERRORS):
                    await _send_beat(line, payload(), wait_s)
                if ctx.now_us() > end_us:
                    return

    async def anew(period_s):
        host = ctx.rng.choice(hosts)
        address, payload, wait_s = address_of(ctx, host), _beat(ctx.rng), ctx.rng.choice([0, 1, 3])
        async for _ in every(ctx, period_s):
            with contextlib.suppress(*NETWORK_ERRORS):
                async with datagrams(address, servers.BEAT_PORT) as line:
                    await _send_beat(line, payload(), wait_s)

    for period_s in periods(ctx.rng, per_min * 0.7, low_s, high_s):
        ctx.spawn(anew(period_s))
    await sessions(ctx, per_min * 0.3, held, 60, 900)


async def _send_beat(line, payload, wait_s):
    if wait_s:
        await line.ask(payload, wait_s)
    else:
        line.send(payload)


def _beat(rng):
    """A maker of payloads: of one size, or of varied ones."""
    size, spread = rng.choice([1, 4, 12, 32, 80, 200]), rng.choice([0, 0, 8, 60])
    return lambda: rng.randbytes(size + rng.randint(0, spread))


@benign("heartbeat-tcp", tool="asyncio")
async def heartbeat_tcp(ctx, per_min, low_s=1, high_s=600, held_share=None, zone=None):
    """Tiny messages over TCP each period: one connection a beat, or one connection for long."""
    hosts = need(ctx, "collector", zone)
    held_share = ctx.rng.choice([0.05, 0.2, 0.6]) if held_share is None else held_share

    async def held(lifetime_s):
        host, end_us = ctx.rng.choice(hosts), ctx.now_us() + lifetime_s * 1e6
        payload = _beat(ctx.rng)
        with contextlib.suppress(*NETWORK_ERRORS):
            async with connected(address_of(ctx, host), servers.BEAT_PORT) as (reader, writer):
                async for _ in every(ctx, log_uniform(ctx.rng, low_s, 120)):
                    writer.write(payload())
                    await reader.read(4096)
                    if ctx.now_us() > end_us:
                        return

    async def anew(period_s):
        host = ctx.rng.choice(hosts)
        address, payload, resets = address_of(ctx, host), _beat(ctx.rng), ctx.rng.random() < 0.2
        async for _ in every(ctx, period_s):
            with contextlib.suppress(*NETWORK_ERRORS):
                async with connected(address, servers.BEAT_PORT, reset=resets) as (reader, writer):
                    writer.write(payload())
                    await reader.read(4096)

    for period_s in periods(ctx.rng, per_min * (1 - held_share), low_s, high_s):
        ctx.spawn(anew(period_s))
    await sessions(ctx, per_min * held_share, held, 60, 900)


@benign("heartbeat-https", tool="asyncio")
async def heartbeat_https(ctx, per_min, low_s=3, high_s=600):
    """An agent of a vendor in the internet: a small HTTPS request each period, now and then a longer exchange."""
    hosts = need(ctx, "nginx", "wan")

    async def agent(period_s):
        host, tls = ctx.rng.choice(hosts), unverified()
        address, port, name = address_of(ctx, host), tls_port(host), host.fqdn
        method, path = ctx.rng.choice([("GET", "/p/1.html"), ("HEAD", "/"), ("POST", "/upload"), ("GET", "/")])
        size, resolves, rare = ctx.rng.choice([0, 40, 300, 1500]), ctx.rng.random() < 0.3, ctx.rng.choice([0, 0.01, 0.05])
        async for _ in every(ctx, period_s):
            if resolves:
                await ctx.resolve(name)
            with contextlib.suppress(*NETWORK_ERRORS, ValueError):
                async with connected(address, port, tls=tls) as (reader, writer):
                    await http(reader, writer, method, path, name, body=bytes(size) if method == "POST" else b"", close=True)
                if ctx.rng.random() < rare:
                    await _longer_exchange(ctx, address, port, name, tls)

    for period_s in periods(ctx.rng, per_min / 1.3, low_s, high_s):
        ctx.spawn(agent(period_s))


async def _longer_exchange(ctx, address, port, name, tls):
    async with connected(address, port, tls=tls) as (reader, writer):
        for _ in range(ctx.rng.randrange(1, 6)):
            size = int(log_uniform(ctx.rng, 200, 60_000))
            await http(reader, writer, "POST", "/upload", name, body=ctx.rng.randbytes(size))


@benign("mqtt-sensors", tool="asyncio")
async def mqtt_sensors(ctx, per_min):
    """Sensors on a broker: held connections with pings, or a connection a report; some listen to each other."""
    host = ctx.rng.choice(need(ctx, "mqtt"))
    account = servers.mqtt_account(ctx.site, host)

    async def held(lifetime_s):
        end_us, keepalive_s = ctx.now_us() + lifetime_s * 1e6, ctx.rng.choice([15, 30, 60, 300])
        period_s, size = log_uniform(ctx.rng, 1, 60), ctx.rng.choice([8, 30, 120, 900])
        with contextlib.suppress(*NETWORK_ERRORS):
            async with connected(address_of(ctx, host), host.port("mqtt", 1883)) as (reader, writer):
                await _mqtt_open(ctx, reader, writer, account, keepalive_s)
                if ctx.rng.random() < 0.3:
                    writer.write(_mqtt(0x82, struct.pack(">H", 1) + _text("plant/#") + b"\0"))
                reading = asyncio.create_task(_mqtt_drain(reader))
                try:
                    await _mqtt_report(ctx, writer, period_s, size, keepalive_s, end_us)
                finally:
                    reading.cancel()

    async def anew(period_s):
        size = ctx.rng.choice([8, 30, 120, 900])
        async for _ in every(ctx, period_s):
            with contextlib.suppress(*NETWORK_ERRORS):
                async with connected(address_of(ctx, host), host.port("mqtt", 1883)) as (reader, writer):
                    await _mqtt_open(ctx, reader, writer, account, 60)
                    writer.write(_mqtt_publish(ctx.rng, size))
                    writer.write(_mqtt(0xE0, b""))

    for period_s in periods(ctx.rng, per_min * 0.6, 5, 300):
        ctx.spawn(anew(period_s))
    await sessions(ctx, per_min * 0.4, held, 60, 900)


async def _mqtt_open(ctx, reader, writer, account, keepalive_s):
    flags = 0x02 | (0xC0 if account else 0)
    payload = _text(f"sensor-{ctx.rng.getrandbits(24):06x}") + b"".join(_text(part) for part in account or ())
    writer.write(_mqtt(0x10, _text("MQTT") + struct.pack(">BBH", 4, flags, keepalive_s) + payload))
    await reader.readexactly(4)


async def _mqtt_report(ctx, writer, period_s, size, keepalive_s, end_us):
    last_us = ctx.now_us()
    async for _ in every(ctx, min(period_s, keepalive_s * 0.9)):
        if ctx.now_us() > end_us or writer.is_closing():
            return
        silent = ctx.now_us() - last_us < period_s * 0.8e6
        writer.write(_mqtt(0xC0, b"") if silent else _mqtt_publish(ctx.rng, size))
        await writer.drain()
        last_us = last_us if silent else ctx.now_us()


async def _mqtt_drain(reader):
    with contextlib.suppress(*NETWORK_ERRORS):
        while await reader.read(65536):
            pass


def _mqtt(kind, body):
    """One MQTT 3.1.1 packet."""
    length, left = b"", len(body)
    while True:
        left, digit = divmod(left, 128)[0], left % 128
        length += bytes([digit | (0x80 if left else 0)])
        if not left:
            return bytes([kind]) + length + body


def _mqtt_publish(rng, size):
    value = rng.randbytes(rng.randint(size // 2, size)).hex().encode()
    return _mqtt(0x30, _text(f"plant/line{rng.randrange(4)}/temperature") + value)


def _text(text):
    return struct.pack(">H", len(text)) + text.encode()


@benign("syslog-ship", tool="asyncio")
async def syslog_ship(ctx, per_min):
    """Logs to a collector over UDP or TCP: a trickle, and bursts when something happens."""
    hosts = need(ctx, "collector")

    async def over_udp(lifetime_s):
        async with datagrams(address_of(ctx, ctx.rng.choice(hosts)), servers.SYSLOG_PORT) as line:
            await _log(ctx, lifetime_s, line.send)

    async def over_tcp(lifetime_s):
        with contextlib.suppress(*NETWORK_ERRORS):
            async with connected(address_of(ctx, ctx.rng.choice(hosts)), servers.SYSLOG_TCP_PORT) as (_, writer):
                await _log(ctx, lifetime_s, lambda text: writer.write(text + b"\n"))

    transport = ctx.rng.choice([over_udp, over_udp, over_tcp])
    await sessions(ctx, per_min, transport, 10, 500)


async def _log(ctx, lifetime_s, send):
    end_us, think_s = ctx.now_us() + lifetime_s * 1e6, log_uniform(ctx.rng, 0.2, 20)
    while ctx.now_us() < end_us:
        for _ in range(1 if ctx.rng.random() < 0.85 else ctx.rng.randrange(5, 80)):
            send(b"<%d>app[%d]: %s" % (ctx.rng.randrange(191), ctx.rng.randrange(9999), b"m" * ctx.rng.randrange(20, 500)))
        await ctx.sleep(ctx.rng.expovariate(1 / think_s))


@benign("statsd-push", tool="asyncio")
async def statsd_push(ctx, per_min):
    """Counters pushed each few seconds over UDP."""
    hosts = need(ctx, "collector")

    async def session(lifetime_s):
        end_us, size = ctx.now_us() + lifetime_s * 1e6, ctx.rng.choice([40, 300, 1200])
        async with datagrams(address_of(ctx, ctx.rng.choice(hosts)), servers.STATSD_PORT) as line:
            async for _ in every(ctx, ctx.rng.choice([1, 5, 10, 10, 30])):
                for _ in range(ctx.rng.randrange(1, 4)):
                    line.send(b"c" * ctx.rng.randrange(size // 2, size))
                if ctx.now_us() > end_us:
                    return

    await sessions(ctx, per_min, session, 30, 600)


@benign("camera-stream", tool="asyncio")
async def camera_stream(ctx, per_min):
    """A recorder or a viewer: RTSP with keep-alives, RTP for some time."""
    hosts = need(ctx, "camera")

    async def session(lifetime_s):
        host = ctx.rng.choice(hosts)
        address, port = address_of(ctx, host), host.port("camera", servers.RTSP_PORT)
        with contextlib.suppress(*NETWORK_ERRORS, ValueError):
            async with connected(address, port) as (reader, writer):
                for method in ("OPTIONS", "DESCRIBE"):
                    await _rtsp(reader, writer, method, address)
                head = await _rtsp(reader, writer, "SETUP", address)
                async with datagrams(address, int(head.split("server_port=")[1].split("\r\n")[0])) as line:
                    await _rtsp(reader, writer, "PLAY", address)
                    line.send(b"\x80\xc9\0\x01" + bytes(4))
                    await _watch(ctx, reader, writer, line, address, lifetime_s)
                await _rtsp(reader, writer, "TEARDOWN", address)

    await sessions(ctx, per_min / 2, session, 8, 90)


async def _watch(ctx, reader, writer, line, address, lifetime_s):
    end_us, period_s = ctx.now_us() + lifetime_s * 1e6, ctx.rng.choice([5, 10, 30])
    async for _ in every(ctx, min(period_s, lifetime_s), 0.02):
        line.send(b"\x80\xc9\0\x01" + bytes(4))
        await _rtsp(reader, writer, "GET_PARAMETER", address)
        if ctx.now_us() > end_us:
            return


async def _rtsp(reader, writer, method, address):
    writer.write(f"{method} rtsp://{address}/live RTSP/1.0\r\nCSeq: 1\r\nUser-Agent: recorder\r\n\r\n".encode())
    head = (await reader.readuntil(b"\r\n\r\n")).decode(errors="replace")
    await reader.readexactly(int(head.rsplit("Content-Length: ", 1)[1].split("\r\n")[0]))
    return head


@benign("print-jobs", tool="asyncio")
async def print_jobs(ctx, per_min):
    """Jobs to a printer's raw port, some after a look whether it is there."""
    hosts = need(ctx, "printer")
    async for _ in ctx.poisson(per_min / 1.3):
        host = ctx.rng.choice(hosts)
        address, port = address_of(ctx, host), host.port("printer", servers.RAW_PRINT_PORT)
        with contextlib.suppress(*NETWORK_ERRORS):
            if ctx.rng.random() < 0.3:
                async with connected(address, port):
                    await ctx.sleep(0.05)
            async with connected(address, port) as (_, writer):
                for _ in range(int(log_uniform(ctx.rng, 1, 60))):
                    writer.write(bytes(ctx.rng.randrange(2000, 20_000)))
                    await writer.drain()
                    await ctx.sleep(ctx.rng.uniform(0.01, 0.2))
