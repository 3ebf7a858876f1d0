"""Theft: data leaves by HTTPS, a cloud's API, FTP, SMTP, raw TCP, DNS and ICMP; in bursts, at once, or in drips.

Owns: how much, in which pieces, when. Never sends anything but random bytes. In: a context and its bounds. Out: uploads to a
`sink`.
"""

import asyncio
import base64
import contextlib
import re
import socket

from ..catalog import hostile
from ..draws import log_uniform
from . import crew
from .beacon import address_of, echo_request, question_name, server_of
from .channels import GONE, Questions, fetch, stream, web_client
from .crew import Bounds


class Haul:
    """The pieces of one theft: a manner, sizes, pauses."""

    MANNERS = ("at-once", "bursts", "drips", "random")

    def __init__(self, ctx, bounds, manner=None, largest=2_000_000, total=None):
        rng = ctx.rng
        self.ctx, self.bounds, self.manner = ctx, bounds, manner or rng.choice(self.MANNERS)
        small = self.manner == "drips"
        self.piece = round(log_uniform(rng, 500, 20_000) if small else log_uniform(rng, 20_000, largest))
        self.spread = rng.choice((0.0, 0.1, 0.5))
        self.pause_s = log_uniform(rng, 1, max(2, min(120, bounds.left_s / 10))) if self.manner in ("drips", "random") else log_uniform(rng, 0.01, 0.5)
        self.burst = rng.randint(2, 12)
        self.left = total or round(log_uniform(rng, 50_000, 12_000_000))
        self.sent = 0
        self.rate_bytes_s = rng.choice((None, None, log_uniform(rng, 10_000, 500_000)))

    def next_size(self) -> int:
        """Bytes of the next piece, 0 at the end."""
        size = max(1, min(self.left, round(self.piece * self.ctx.rng.uniform(1 - self.spread, 1 + self.spread))))
        if self.left <= 0 or self.bounds.left_s <= 1:
            return 0
        self.left -= size
        return size

    async def pause(self):
        """Waits before the next piece."""
        rng = self.ctx.rng
        self.sent += 1
        wait_s = self.pause_s
        if self.manner == "bursts" and self.sent % self.burst == 0:
            wait_s = log_uniform(rng, 2, 60)
        elif self.manner == "random":
            wait_s = rng.expovariate(1 / self.pause_s)
        await self.ctx.sleep(min(wait_s * rng.uniform(0.9, 1.1), max(self.bounds.left_s, 0)))

    async def body(self, size):
        """The piece's bytes, at the haul's rate if it has one."""
        step = 32768 if not self.rate_bytes_s else max(1024, round(self.rate_bytes_s / 5))
        for start in range(0, size, step):
            count = min(step, size - start)
            yield self.ctx.rng.randbytes(count)
            if self.rate_bytes_s:
                await self.ctx.sleep(count / self.rate_bytes_s)


@hostile("exfil-https", label="exfiltration", tool="aiohttp", technique="T1048.002")
async def exfil_https(ctx, flows, seconds, manner=None, keep=None):
    """POSTs to a server outside (options: manner at-once, bursts, drips, random; keep: one connection)."""
    rng, bounds = ctx.rng, Bounds(ctx, flows, seconds)
    server, haul = server_of(ctx, "sink"), Haul(ctx, bounds, manner)
    keep = rng.random() < 0.5 if keep is None else keep
    base = crew.url(address_of(ctx, server), server.port("sink", 443), True, "")
    method, path, armoured = rng.choice(("POST", "POST", "PUT")), rng.choice(("/upload", "/u", "/api/file", "/gate.php")), rng.random() < 0.3
    async with web_client(ctx, keep=keep, timeout_s=120) as client:
        while bounds.take() and (size := haul.next_size()):
            if armoured:
                body = base64.b64encode(rng.randbytes(size))
            else:
                body = haul.body(size) if rng.random() < 0.5 or haul.rate_bytes_s else rng.randbytes(size)
            await fetch(client, method, base + path, data=body)
            await haul.pause()


@hostile("exfil-cloud", label="exfiltration", tool="aiohttp", technique="T1567.002")
async def exfil_cloud(ctx, flows, seconds, manner=None):
    """As a cloud's API has it: a session, equal chunks with ranges, a commit; a file after the other (option manner)."""
    rng, bounds = ctx.rng, Bounds(ctx, flows, seconds)
    server, haul = server_of(ctx, "sink"), Haul(ctx, bounds, manner)
    chunk = rng.choice((65_536, 262_144, 1_048_576, 4_194_304))
    base = crew.url(address_of(ctx, server), server.port("sink", 443), True, "/upload/drive/v3")
    headers = {"Authorization": "Bearer " + base64.b64encode(rng.randbytes(rng.choice((32, 120, 600)))).decode()}
    while bounds.take() and (size := haul.next_size()):
        async with web_client(ctx, timeout_s=120, agent=rng.choice(("rclone/v1.60.1", "python-requests/2.31.0", "Go-http-client/1.1"))) as client:
            await fetch(client, "POST", base + "/sessions", json={"name": f"{rng.getrandbits(64):x}", "size": size}, headers=headers)
            for start in range(0, size, chunk):
                end = min(start + chunk, size)
                await fetch(client, "PUT", f"{base}/sessions/{rng.getrandbits(48):x}", data=haul.body(end - start),
                            headers=headers | {"Content-Range": f"bytes {start}-{end - 1}/{size}"})
                if bounds.left_s <= 0:
                    break
            await fetch(client, "POST", base + "/commit", json={"size": size}, headers=headers)
        await haul.pause()


@hostile("exfil-ftp", label="exfiltration", tool="asyncio", technique="T1048.003")
async def exfil_ftp(ctx, flows, seconds, manner=None):
    """FTP uploads, passive (option manner): one control connection, or one for each file."""
    rng, bounds = ctx.rng, Bounds(ctx, flows, seconds)
    server, haul = server_of(ctx, "sink"), Haul(ctx, bounds, manner)
    port, most = int(server.offers("sink").options.get("ftp_port", 21)), rng.choice((1, 5, 1000))
    while bounds.take(2):
        with contextlib.suppress(*GONE):
            async with stream(address_of(ctx, server, 0), port) as (reader, writer):
                if not await _ftp_session(ctx, bounds, haul, server.address, reader, writer, most):
                    return
        if haul.left <= 0 or bounds.left_s <= 1:
            return
        await haul.pause()


async def _ftp_session(ctx, bounds, haul, address, reader, writer, most):
    rng = ctx.rng

    async def say(line):
        writer.write(line.encode() + b"\r\n")
        return (await asyncio.wait_for(reader.readline(), 15)).decode()

    await asyncio.wait_for(reader.readline(), 15)
    user, password = rng.choice(ctx.site.users)
    for line in (f"USER {user}", f"PASS {password}", "TYPE I", *(["CWD /drop"] if rng.random() < 0.5 else [])):
        await say(line)
        await ctx.sleep(rng.uniform(0, 0.1))
    for number in range(most):
        if number and not bounds.take() or not (size := haul.next_size()):
            break
        port = int(re.search(r"\|(\d+)\|", await say("EPSV")).group(1))
        writer.write(f"STOR {rng.getrandbits(40):x}.{rng.choice(('zip', 'rar', '7z', 'bin'))}\r\n".encode())
        async with stream(address, port) as (_, data):
            async for piece in haul.body(size):
                data.write(piece)
                await asyncio.wait_for(data.drain(), 60)
        await asyncio.wait_for(reader.readline(), 15)
        await asyncio.wait_for(reader.readline(), 15)
        await haul.pause()
    await say("QUIT")
    return haul.left > 0


@hostile("exfil-smtp", label="exfiltration", tool="asyncio", technique="T1048.003")
async def exfil_smtp(ctx, flows, seconds, manner=None):
    """Mails with attachments straight to a server outside (option manner)."""
    rng, bounds = ctx.rng, Bounds(ctx, flows, seconds)
    server, haul = server_of(ctx, "sink"), Haul(ctx, bounds, manner, largest=1_000_000)
    port = int(server.offers("sink").options.get("smtp_port", 25))
    while bounds.take() and (size := haul.next_size()):
        with contextlib.suppress(*GONE):
            async with stream(address_of(ctx, server), port) as (reader, writer):
                await asyncio.wait_for(reader.readline(), 15)
                sender = f"{rng.choice(ctx.site.users)[0]}@{ctx.site.domain}"
                writer.write(f"EHLO {ctx.host.name}\r\n".encode())
                while (await asyncio.wait_for(reader.readline(), 15))[3:4] == b"-":
                    pass
                for line in (f"MAIL FROM:<{sender}>", "RCPT TO:<box@example.net>", "DATA"):
                    writer.write(line.encode() + b"\r\n")
                    await asyncio.wait_for(reader.readline(), 15)
                writer.write(b"Subject: report\r\nContent-Transfer-Encoding: base64\r\n\r\n")
                async for piece in haul.body(size * 3 // 4):
                    writer.write(base64.encodebytes(piece).replace(b"\n", b"\r\n"))
                    await asyncio.wait_for(writer.drain(), 60)
                writer.write(b".\r\n")
                await asyncio.wait_for(reader.readline(), 30)
                writer.write(b"QUIT\r\n")
                await asyncio.wait_for(reader.readline(), 15)
        await haul.pause()


@hostile("exfil-tcp", label="exfiltration", tool="asyncio", technique="T1048.003")
async def exfil_tcp(ctx, flows, seconds, manner=None):
    """Bytes into a bare connection, as netcat sends them (option manner)."""
    bounds = Bounds(ctx, flows, seconds)
    server, haul = server_of(ctx, "sink"), Haul(ctx, bounds, manner)
    port = int(server.offers("sink").options.get("raw_port", 8899))
    while bounds.take() and (size := haul.next_size()):
        with contextlib.suppress(*GONE):
            async with stream(address_of(ctx, server), port) as (reader, writer):
                async for piece in haul.body(size):
                    writer.write(piece)
                    await asyncio.wait_for(writer.drain(), 60)
                writer.write_eof()
                await asyncio.wait_for(reader.read(1), 20)
        await haul.pause()


@hostile("exfil-dns", label="exfiltration", tool="dnslib", technique="T1048.003")
async def exfil_dns(ctx, flows, seconds, fresh=None, through=None):
    """Data in names: `fresh`: a socket each; `through` = "resolver" asks the company's resolver. `flows` bounds questions
    with fresh sockets, else they are at most 20 times as many."""
    rng = ctx.rng
    fresh = rng.random() < 0.6 if fresh is None else fresh
    bounds = Bounds(ctx, flows if fresh else 20 * flows, seconds)
    server = server_of(ctx, "sink", "c2-dns")
    ask = ctx.bed.resolver if (through == "resolver" or through is None and rng.random() < 0.25) and ctx.bed.resolver else server.address
    length, pause_s = rng.choice((30, 60, 110, 180)), log_uniform(rng, 0.005, max(0.01, min(5, seconds / 10)))
    kind, waits, reply = rng.choice(("A", "TXT", "AAAA", "CNAME")), rng.random() < 0.7, rng.choice((4, 4, 30, 100))
    while bounds.take():
        async with Questions.to(ask) as questions:
            while True:
                name = question_name(rng, server.fqdn, reply, round(length * rng.uniform(0.8, 1)))
                await questions.ask(name, kind, timeout_s=1.5 if waits or fresh else 0)
                await ctx.sleep(min(rng.uniform(0.5, 1.5) * pause_s, max(bounds.left_s, 0)))
                if fresh or not bounds.take() or rng.random() < 0.002:
                    break


@hostile("exfil-icmp", label="exfiltration", tool="raw socket", technique="T1048.003")
async def exfil_icmp(ctx, flows, seconds, pause_s=None):
    """Data in echo requests to an outside host, whose kernel sends it back. `flows` bounds the requests / 20."""
    rng, bounds = ctx.rng, Bounds(ctx, 20 * flows, seconds)
    server = server_of(ctx, "sink", "icmp-tunnel")
    size, pause_s = rng.choice((48, 200, 512, 1000, 1400)), pause_s or log_uniform(rng, 0.01, 2)
    identity, jitter, sequence = rng.getrandbits(16), rng.choice((0, 0.1, 0.6)), 0
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as raw:
        raw.bind((ctx.host.address, 0))
        while bounds.take():
            sequence += 1
            with contextlib.suppress(OSError):
                raw.sendto(echo_request(identity, sequence, rng.randbytes(size)), (server.address, 0))
            await ctx.sleep(min(pause_s * (1 + rng.uniform(-jitter, jitter)), max(bounds.left_s, 0)))
