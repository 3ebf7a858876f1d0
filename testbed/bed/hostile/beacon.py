"""Beacons and other command channels: periodic callbacks over HTTP, HTTPS, DNS, TCP, UDP and ICMP, calls to nobody, generated
names, reverse shells, chat bots, peer-to-peer gossip, mining.

Owns: periods, jitter, work in between. Never carries a command: the far ends (services/command_control.py) send random bytes,
and nothing that arrives is looked at. In: a context and its bounds. Out: callbacks.
"""

import asyncio
import base64
import contextlib
import json
import socket
import struct

from ..catalog import hostile
from ..draws import log_uniform
from . import crew
from .channels import (
    GONE,
    ask_once,
    fetch,
    frame,
    hang_up,
    operate,
    stream,
    tls_client,
    web_client,
)
from .crew import Bounds


class Rhythm:
    """When the next callback is due: a period that an operator changes now and then, jitter, and working hours."""

    def __init__(self, ctx, bounds, period_s=None, jitter=None):
        self.ctx, self.bounds, rng = ctx, bounds, ctx.rng
        # A period with which at least some callbacks fit into the episode.
        longest = max(2.0, min(3600.0, bounds.left_s / 4))
        self.period_s = period_s or log_uniform(rng, 1.0, longest)
        self.jitter = rng.choice((0.0, 0.02, 0.1, 0.2, 0.3, 0.5)) if jitter is None else jitter
        self.one_sided = rng.random() < 0.5  # period plus jitter, or around the period
        self.restless = rng.choice((0.0, 0.0, 0.01, 0.05))
        self.day_s = rng.choice((None, None, None, log_uniform(rng, 300, 7200)))
        self.since_us = ctx.now_us()

    async def next(self) -> bool:
        """Sleeps until the next callback; false if there is none."""
        rng = self.ctx.rng
        if rng.random() < self.restless:
            self.period_s = min(max(self.period_s * rng.choice((0.1, 0.5, 2, 6)), 0.5), 3600)
        spread = rng.uniform(0, self.jitter) if self.one_sided else rng.uniform(-self.jitter, self.jitter)
        wait_s = self.period_s * (1 + spread)
        if self.day_s and (self.ctx.now_us() - self.since_us) / 1e6 % self.day_s > 0.6 * self.day_s:
            wait_s += 0.4 * self.day_s
        if wait_s >= self.bounds.left_s:
            return False
        await self.ctx.sleep(wait_s)
        return True


def server_of(ctx, *services):
    """A command server outside."""
    found = [h for h in ctx.site.hosts if h is not ctx.host and h.zone == "wan" and any(h.offers(s) for s in services)]
    if not found:
        raise LookupError(f"no command server offers {' or '.join(services)}")
    return ctx.rng.choice(found)


def address_of(ctx, server, six=0.15) -> str:
    """The server's first address of a family: what its names resolve to."""
    return server.address6 if server.address6 and ctx.host.address6 and ctx.rng.random() < six else server.address


async def poll_over_http(ctx, flows, seconds, server, port, tls, *, period_s=None, jitter=None, keep=None):
    """Polls; a big answer is work, whose result is posted back."""
    rng, bounds = ctx.rng, Bounds(ctx, flows, seconds)
    rhythm = Rhythm(ctx, bounds, period_s, jitter)
    keep = rng.random() < 0.4 if keep is None else keep
    base = crew.url(address_of(ctx, server), port, tls, "")
    path = rng.choice(("/api/v2/status", "/jquery-3.3.1.min.js", "/submit.php", "/updates", f"/{rng.getrandbits(32):x}", "/pixel.gif"))
    by_post, metadata = rng.random() < 0.35, rng.choice((16, 60, 180, 400, 900))
    padding, result_max = rng.choice((0, 0, 20, 300)), rng.choice((1_000, 20_000, 300_000))
    lookup_share = rng.choice((0.0, 0.0, 0.1))
    async with web_client(ctx, keep=keep, timeout_s=rng.choice((5, 20, 60))) as client:
        while bounds.take():
            if rng.random() < lookup_share and bounds.take():
                await ctx.resolve(server.fqdn)
            blob = rng.randbytes(metadata + rng.randint(0, padding))
            if by_post:
                _, size = await fetch(client, "POST", base + path, data=blob)
            elif rng.random() < 0.5:
                _, size = await fetch(client, "GET", base + path, headers={"Cookie": "SID=" + base64.b64encode(blob).decode()})
            else:
                _, size = await fetch(client, "GET", f"{base}{path}?id={blob.hex()}")
            if size > 2000 or rng.random() < 0.02:
                await _work_over_http(ctx, bounds, client, base + path, keep, result_max)
            if not await rhythm.next():
                return


async def _work_over_http(ctx, bounds, client, url, keep, result_max):
    for _ in range(ctx.rng.choice((1, 1, 2, 5))):
        if not (keep or bounds.take()):
            return
        await ctx.sleep(min(ctx.rng.expovariate(1 / 3), max(bounds.left_s, 0)))
        await fetch(client, "POST", url, data=ctx.rng.randbytes(round(log_uniform(ctx.rng, 50, result_max))))


@hostile("beacon-http", label="c2", tool="aiohttp", technique="T1071.001")
async def beacon_http(ctx, flows, seconds, **options):
    """Options: period_s, jitter (0 to 1), keep (connection reuse)."""
    server = server_of(ctx, "c2-http")
    await poll_over_http(ctx, flows, seconds, server, server.port("c2-http", 80), False, **options)


@hostile("beacon-https", label="c2", tool="aiohttp", technique="T1573.002")
async def beacon_https(ctx, flows, seconds, **options):
    """Options: as beacon-http."""
    server = server_of(ctx, "c2-https")
    await poll_over_http(ctx, flows, seconds, server, server.port("c2-https", 443), True, **options)


@hostile("beacon-fallback", label="c2", tool="aiohttp", technique="T1008")
async def beacon_fallback(ctx, flows, seconds, period_s=None, jitter=None):
    """The first channel is dead (nobody there, or a closed port): some tries, then another channel. Again and again."""
    rng, bounds = ctx.rng, Bounds(ctx, flows, seconds)
    rhythm = Rhythm(ctx, bounds, period_s, jitter)
    server = server_of(ctx, "c2-http", "c2-https", "c2-tcp")
    dead = rng.choice((ctx.site.dark_internet4(rng, 1)[0], server.address))
    dead_port, tries = rng.choice((8081, 9443, 4447, 1337)), rng.randint(1, 4)
    while bounds.take():
        for _ in range(tries):
            with contextlib.suppress(*GONE):
                async with stream(dead, dead_port, timeout_s=rng.choice((1, 3, 5))):
                    pass
            await ctx.sleep(rng.uniform(0.2, 3))
            if not bounds.take():
                return
        await _one_call(ctx, server)
        if not await rhythm.next():
            return


async def _one_call(ctx, server):
    """One callback by whatever the server offers."""
    rng = ctx.rng
    if server.offers("c2-tcp"):
        with contextlib.suppress(*GONE):
            async with stream(server.address, server.port("c2-tcp", 4444)) as (reader, writer):
                await frame(reader, writer, rng.randrange(20, 400), rng.randrange(4, 300), rng)
        return
    tls = bool(server.offers("c2-https"))
    port = server.port("c2-https", 443) if tls else server.port("c2-http", 80)
    async with web_client(ctx, keep=False) as client:
        await fetch(client, "GET", crew.url(server.address, port, tls, f"/{rng.getrandbits(40):x}"))


@hostile("beacon-dead", label="c2", tool="asyncio", technique="T1071")
async def beacon_dead(ctx, flows, seconds, period_s=None, jitter=None, patience_s=None):
    """Calls a command server that is gone: silence or a refusal, with or without back-off (option patience_s for silence)."""
    rng, bounds = ctx.rng, Bounds(ctx, flows, seconds)
    rhythm = Rhythm(ctx, bounds, period_s, jitter)
    rhythm.period_s = min(rhythm.period_s, seconds / 8)
    closed = rng.random() < 0.4
    address = rng.choice(ctx.site.select("attacker") or [ctx.host]).address if closed else ctx.site.dark_internet4(rng, 1)[0]
    port = rng.choice((443, 80, 8443, 4443, 1337, 8888)) if not closed else rng.choice((4443, 8089, 1337, 31337))
    patience_s, again, backoff = patience_s or rng.choice((1, 3, 8, 20)), rng.randint(1, 3), rng.choice((1, 1, 1, 1.5))
    while True:
        for _ in range(again):
            if not bounds.take():
                return
            with contextlib.suppress(*GONE):
                async with stream(address, port, timeout_s=patience_s):
                    pass
        if not await rhythm.next():
            return
        rhythm.period_s = min(rhythm.period_s * backoff, 600)


@hostile("beacon-dns", label="c2", tool="dnslib", technique="T1071.004")
async def beacon_dns(ctx, flows, seconds, period_s=None, jitter=None, through=None):
    """Short questions to the command server's zone; `through` = "resolver" asks the company's resolver instead."""
    rng, bounds = ctx.rng, Bounds(ctx, flows, seconds)
    rhythm = Rhythm(ctx, bounds, period_s, jitter)
    server = server_of(ctx, "c2-dns")
    ask = ctx.bed.resolver if (through == "resolver" or through is None and rng.random() < 0.2) and ctx.bed.resolver else server.address
    kind, length = rng.choice(("A", "TXT", "AAAA", "CNAME", "MX")), rng.choice((6, 12, 30))
    while bounds.take():
        await ask_once(ask, question_name(rng, server.fqdn, rng.choice((4, 8, 16)), length), kind)
        if rng.random() < 0.03:
            await _dns_work(ctx, bounds, ask, server.fqdn)
        if not await rhythm.next():
            return


async def _dns_work(ctx, bounds, ask, zone):
    for _ in range(ctx.rng.randint(5, 40)):
        if not bounds.take():
            return
        await ask_once(ask, question_name(ctx.rng, zone, 120, ctx.rng.randint(30, 110)), "TXT")
        await ctx.sleep(ctx.rng.uniform(0.02, 0.3))


def question_name(rng, zone, wanted, length) -> str:
    """A name that carries `length` hex digits to a zone and asks for `wanted` bytes."""
    text = f"{min(wanted, 0xFFE):03x}" + f"{rng.getrandbits(4 * length):0{length}x}"
    label = rng.choice((20, 40, 60))
    labels = [text[i:i + label] for i in range(0, len(text), label)]
    while len(".".join(labels)) + len(zone) > 240:
        labels.pop()
    return ".".join([*labels, zone])


@hostile("beacon-tcp", label="c2", tool="asyncio", technique="T1095")
async def beacon_tcp(ctx, flows, seconds, period_s=None, jitter=None, keep=None):
    """Frames over TCP or TLS: a connection each, or one that lasts with tiny frames (options: period_s, jitter, keep)."""
    rng, bounds = ctx.rng, Bounds(ctx, flows, seconds)
    rhythm = Rhythm(ctx, bounds, period_s, jitter)
    server = server_of(ctx, "c2-tcp")
    tls = tls_client(rng) if rng.random() < 0.4 else None
    port = int(server.offers("c2-tcp").options.get("tls_port", 4445)) if tls else server.port("c2-tcp", 4444)
    address, up, down = address_of(ctx, server), rng.choice((4, 20, 90, 500)), rng.choice((4, 12, 80, 400))
    padding, abrupt = rng.choice((0, 0, 16, 200)), rng.random() < 0.2
    keep = rng.random() < 0.5 if keep is None else keep
    while bounds.take():
        with contextlib.suppress(*GONE):
            async with stream(address, port, tls=tls) as (reader, writer):
                await _call(ctx, reader, writer, up, down, padding)
                while keep and await rhythm.next():
                    await _call(ctx, reader, writer, up, down, padding)
                if abrupt:
                    hang_up(writer)
        if not await rhythm.next():
            return


async def _call(ctx, reader, writer, up, down, padding):
    rng = ctx.rng
    await frame(reader, writer, up + rng.randint(0, padding), down + rng.randint(0, padding), rng)
    if rng.random() < 0.04:
        for _ in range(rng.randint(1, 6)):
            await ctx.sleep(rng.expovariate(1 / 2))
            await frame(reader, writer, round(log_uniform(rng, 50, 60_000)), round(log_uniform(rng, 20, 100_000)), rng)


@hostile("beacon-udp", label="c2", tool="asyncio", technique="T1095")
async def beacon_udp(ctx, flows, seconds, period_s=None, jitter=None, keep=None):
    """Datagrams from one socket or from a new one each; now and then unanswered."""
    rng, bounds = ctx.rng, Bounds(ctx, flows, seconds)
    rhythm = Rhythm(ctx, bounds, period_s, jitter)
    server = server_of(ctx, "c2-tcp")
    address, port = server.address, server.port("c2-tcp", 4444)
    up, down, padding = rng.choice((8, 24, 100, 700)), rng.choice((0, 8, 60, 500)), rng.choice((0, 0, 40))
    keep = rng.random() < 0.5 if keep is None else keep
    loop = asyncio.get_running_loop()
    while bounds.take():
        transport, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, remote_addr=(address, port))
        try:
            while True:
                for _ in range(rng.randint(4, 30) if rng.random() < 0.03 else 1):
                    transport.sendto(struct.pack(">II", 0, down + rng.randint(0, padding) if down else 0)
                                     + rng.randbytes(up + rng.randint(0, padding)))
                    await ctx.sleep(rng.uniform(0.02, 0.1))
                if not await rhythm.next():
                    return
                if not keep:
                    break
        finally:
            transport.close()


@hostile("beacon-icmp", label="c2", tool="raw socket", technique="T1095")
async def beacon_icmp(ctx, flows, seconds, period_s=None, jitter=None):
    """Echo requests with data in them; the other host's kernel answers. `flows` bounds the requests."""
    rng, bounds = ctx.rng, Bounds(ctx, flows, seconds)
    rhythm = Rhythm(ctx, bounds, period_s, jitter)
    rhythm.period_s = min(rhythm.period_s, 50)  # with longer pauses each request would be a flow of its own
    server = server_of(ctx, "icmp-tunnel", "c2-tcp", "c2-http", "c2-https", "c2-dns", "sink")
    size, padding, identity = rng.choice((16, 56, 200, 900)), rng.choice((0, 0, 60)), rng.getrandbits(16)
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as raw:
        raw.bind((ctx.host.address, 0))
        sequence = 0
        while bounds.take():
            sequence += 1
            raw.sendto(echo_request(identity, sequence, rng.randbytes(size + rng.randint(0, padding))), (server.address, 0))
            if not await rhythm.next():
                return


def echo_request(identity, sequence, payload) -> bytes:
    """An ICMP echo request."""
    return icmp_message(8, 0, struct.pack(">HH", identity & 0xFFFF, sequence & 0xFFFF) + payload)


def icmp_message(kind, code, rest) -> bytes:
    """An ICMP message with its checksum."""
    message = struct.pack(">BBH", kind, code, 0) + rest
    padded = message + b"\0" * (len(message) % 2)
    total = sum(struct.unpack(f">{len(padded) // 2}H", padded))
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    return message[:2] + struct.pack(">H", ~total & 0xFFFF) + message[4:]


@hostile("dga", label="c2", tool="dnslib", technique="T1568.002")
async def generated_names(ctx, flows, seconds, pause_s=None):
    """Asks for generated names that do not exist, at last for one that does, and calls there."""
    rng, bounds = ctx.rng, Bounds(ctx, flows, seconds)
    if not ctx.bed.resolver:
        raise LookupError("the site has no resolver")
    server = server_of(ctx, "c2-http", "c2-https", "c2-tcp")
    pause_s = pause_s or log_uniform(rng, 0.02, 5)
    words, suffix = rng.random() < 0.3, rng.choice(("com", "net", "info", "biz", "top", "ru"))
    low = rng.randint(7, 14)
    while bounds.flows > 2 and bounds.left_s > 1:
        for _ in range(rng.randint(10, 150)):
            if not bounds.take():
                return
            await ctx.resolve(f"{_generated(rng, words, low)}.{suffix}", rng.choice(("A", "A", "A", "AAAA")))
            await ctx.sleep(min(rng.expovariate(1 / pause_s), max(bounds.left_s, 0)))
        if bounds.take(2):
            await ctx.resolve(server.fqdn)
            await _one_call(ctx, server)
        await ctx.sleep(min(log_uniform(rng, 5, 600), max(bounds.left_s, 0)))


def _generated(rng, words, low):
    if words:
        return "".join(rng.sample(("river", "stone", "amber", "delta", "falcon", "maple", "orbit", "prism", "cloud", "night"), 2)) + str(rng.randrange(99))
    return "".join(rng.choices("abcdefghijklmnopqrstuvwxyz0123456789"[:rng.choice((26, 36))], k=rng.randint(low, low + 8)))


@hostile("reverse-shell", label="c2", tool="asyncio", technique="T1059.004")
async def reverse_shell(ctx, flows, seconds, raw=None):
    """A long connection out, over which somebody types: whole lines (netcat) or keys with echo (`raw`); plain or TLS."""
    rng, bounds = ctx.rng, Bounds(ctx, flows, seconds)
    server = server_of(ctx, "c2-tcp")
    raw = rng.random() < 0.4 if raw is None else raw
    tls = tls_client(rng) if rng.random() < 0.4 else None
    port = int(server.offers("c2-tcp").options.get("tls_port", 4445)) if tls else server.port("c2-tcp", 4444)
    think_s = log_uniform(rng, 2, 60)
    while bounds.take():
        with contextlib.suppress(*GONE):
            async with stream(address_of(ctx, server), port, tls=tls) as (reader, writer):
                writer.write(struct.pack(">II", 1 << 31, 0) + b"$ ")  # one endless frame: the server only speaks when operated
                await _typing(ctx, bounds, server, reader, writer, raw, think_s)
        if rng.random() < 0.5 or bounds.left_s < 5:
            return
        await ctx.sleep(min(rng.uniform(1, 60), max(bounds.left_s, 0)))


async def _typing(ctx, bounds, server, reader, writer, raw, think_s):
    rng = ctx.rng
    me = writer.get_extra_info("sockname")[:2]
    for _ in range(rng.randint(3, 60)):
        await ctx.sleep(min(rng.lognormvariate(0, 0.9) * think_s, max(bounds.left_s, 0)))
        if bounds.left_s <= 1:
            return
        length = rng.randint(2, 40)
        for count in [1] * length if raw else [length]:
            operate(server, "c2-tcp", *me, count)
            await asyncio.wait_for(reader.readexactly(count), 10)
            if raw:
                writer.write(rng.randbytes(1))
                await ctx.sleep(rng.lognormvariate(-1.8, 0.5))
        output = min(round(5 * rng.paretovariate(0.5)), 200_000)
        for start in range(0, output, 4096):
            writer.write(rng.randbytes(min(4096, output - start)))
            await asyncio.wait_for(writer.drain(), 30)
        writer.write(b"$ ")


@hostile("irc-bot", label="c2", tool="asyncio", technique="T1071")
async def irc_bot(ctx, flows, seconds):
    """Joins a channel, answers orders now and then, pings by the clock, reconnects when cut off."""
    rng, bounds = ctx.rng, Bounds(ctx, flows, seconds)
    server = server_of(ctx, "c2-tcp")
    port, ping_s = int(server.offers("c2-tcp").options.get("irc_port", 6667)), rng.choice((20, 30, 60, 90, 120))
    while bounds.take():
        with contextlib.suppress(*GONE):
            async with stream(server.address, port) as (reader, writer):
                await _chatting(ctx, bounds, server, reader, writer, ping_s)
        await ctx.sleep(min(rng.uniform(2, 120), max(bounds.left_s, 0)))
        if bounds.left_s < 2:
            return


async def _chatting(ctx, bounds, server, reader, writer, ping_s):
    rng = ctx.rng
    me = writer.get_extra_info("sockname")[:2]
    writer.write(f"NICK b{rng.getrandbits(24):x}\r\nUSER x 0 * :{rng.getrandbits(64):x}\r\n".encode())
    await ctx.sleep(rng.uniform(0.2, 2))
    writer.write(b"JOIN #room key\r\n")
    for _ in range(round(log_uniform(rng, 4, 200))):
        await ctx.sleep(min(ping_s, max(bounds.left_s, 0)))
        if bounds.left_s <= 0:
            break
        writer.write(b"PING :%d\r\n" % rng.getrandbits(30))
        if rng.random() < 0.2:
            operate(server, "c2-tcp", *me, rng.randint(20, 120))
            await ctx.sleep(rng.uniform(0.1, 3))
            for _ in range(rng.randint(1, 5)):
                writer.write(b"PRIVMSG #room :" + rng.randbytes(rng.randint(10, 150)).hex().encode() + b"\r\n")
        while len(await _available(reader)) == 65536:
            pass
    writer.write(b"QUIT :bye\r\n")


async def _available(reader):
    try:
        return await asyncio.wait_for(reader.read(65536), 0.3)
    except TimeoutError:
        return b""


@hostile("p2p-gossip", label="c2", tool="asyncio", technique="T1090.003")
async def gossip(ctx, flows, seconds, period_s=None):
    """One UDP socket, many peers: some answer, most are gone. `flows` bounds the peers and the messages / 4."""
    rng, bounds = ctx.rng, Bounds(ctx, 4 * flows, seconds)
    rhythm = Rhythm(ctx, bounds, period_s or log_uniform(rng, 0.3, 30))
    alive = [(h.address, h.port("c2-tcp", 4444)) for h in ctx.site.hosts if h.zone == "wan" and h.offers("c2-tcp")]
    dark = [(a, rng.randint(1024, 65000)) for a in ctx.site.dark_internet4(rng, min(flows, rng.randint(4, 80)))]
    peers = (alive + dark)[:max(1, flows)]
    size = rng.choice((20, 60, 250))
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        asyncio.DatagramProtocol, local_addr=(ctx.host.address, rng.randint(20_000, 60_000)))
    try:
        while True:
            for peer in rng.sample(peers, min(len(peers), rng.randint(1, 6))):
                if not bounds.take():
                    return
                transport.sendto(struct.pack(">II", 0, rng.randint(20, 600)) + rng.randbytes(rng.randint(8, size)), peer)
                await ctx.sleep(rng.uniform(0, 0.3))
            if not await rhythm.next():
                return
    finally:
        transport.close()


@hostile("miner-stratum", label="c2", tool="asyncio", technique="T1496")
async def miner(ctx, flows, seconds):
    """A miner at its pool: one long connection, jobs pushed to it, shares handed in at random instants."""
    rng, bounds = ctx.rng, Bounds(ctx, flows, seconds)
    server = server_of(ctx, "stratum")
    tls = tls_client(rng) if rng.random() < 0.3 else None
    port = int(server.offers("stratum").options.get("tls_port", 3334)) if tls else server.port("stratum", 3333)
    job_s, share_s = log_uniform(rng, 8, 60), log_uniform(rng, 3, 60)
    while bounds.take():
        with contextlib.suppress(*GONE):
            async with stream(address_of(ctx, server), port, tls=tls, limit=1 << 20) as (reader, writer):
                await _mining(ctx, bounds, server, reader, writer, job_s, share_s)
        await ctx.sleep(min(rng.uniform(1, 20), max(bounds.left_s, 0)))
        if bounds.left_s < 2:
            return


async def _mining(ctx, bounds, server, reader, writer, job_s, share_s):
    rng, me, number = ctx.rng, writer.get_extra_info("sockname")[:2], 2
    writer.write(_call_of(1, "mining.subscribe", ["miner/6.21.0"]))
    await asyncio.wait_for(reader.readline(), 10)
    writer.write(_call_of(2, "mining.authorize", [f"{rng.getrandbits(180):x}", "x"]))
    job_at, share_at = rng.expovariate(1 / job_s), rng.expovariate(1 / share_s)
    ends_at = rng.choice((bounds.left_s, rng.uniform(60, 3600)))
    while (over_s := min(bounds.left_s, ends_at)) > 0:
        wait_s = min(job_at, share_at, over_s)
        await ctx.sleep(wait_s)
        job_at, share_at, ends_at = job_at - wait_s, share_at - wait_s, ends_at - wait_s
        if job_at <= 0:
            operate(server, "stratum", *me, rng.randint(40, 300))
            job_at = rng.uniform(0.6, 1.4) * job_s
        if share_at <= 0:
            number += 1
            writer.write(_call_of(number, "mining.submit", ["w", f"{rng.getrandbits(32):08x}", f"{rng.getrandbits(64):x}", f"{rng.getrandbits(32):08x}"]))
            share_at = rng.expovariate(1 / share_s)
        if reader.at_eof():
            return
        await _available(reader)


def _call_of(number, method, parameters):
    return json.dumps({"id": number, "method": method, "params": parameters}).encode() + b"\n"
