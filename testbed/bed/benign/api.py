"""Programs that talk to APIs and clouds: polls, pushes, synchronisation, slow uploads.

Owns: clients of `api`, and of `nginx` on the WAN for uploads. Uploads in drips and polls by the clock look like
exfiltration and beacons, on purpose, and are neither. In: flows a minute. Out: HTTP.
"""

import asyncio
import contextlib

from ..catalog import benign
from ..draws import log_uniform
from ..tls import unverified
from .pace import (
    NETWORK_ERRORS,
    address_of,
    connected,
    every,
    http,
    need,
    periods,
    sessions,
    tls_port,
)


@benign("api-polling", tool="asyncio")
async def api_polling(ctx, per_min, low_s=2, high_s=300):
    """A small GET each period, a connection each."""
    hosts = need(ctx, "api")

    async def poll(period_s):
        host = ctx.rng.choice(hosts)
        path = f"/v1/status/{ctx.rng.randrange(99)}?size={ctx.rng.choice([20, 80, 400, 3000])}"
        headers, resolves = _headers(ctx.rng), ctx.rng.random() < 0.3
        async for _ in every(ctx, period_s):
            if resolves:
                await ctx.resolve(host.fqdn)
            with contextlib.suppress(*NETWORK_ERRORS, ValueError):
                async with _api(ctx, host) as (reader, writer):
                    await http(reader, writer, "GET", path, host.fqdn, headers=headers, close=True)

    for period_s in periods(ctx.rng, per_min / 1.3, low_s, high_s):
        ctx.spawn(poll(period_s))


def _api(ctx, host):
    tls = unverified() if host.offers("api").options.get("tls") else None
    return connected(address_of(ctx, host), host.port("api", 8000), tls=tls)


def _headers(rng):
    agent = rng.choice(["okhttp/4.12.0", "python-requests/2.31", "Go-http-client/1.1", "updater/7", "curl/8.5.0",
                        "axios/1.6"])
    token = f"Authorization: Bearer {rng.randbytes(rng.choice([16, 60, 300])).hex()}\r\n" if rng.random() < 0.5 else ""
    return f"User-Agent: {agent}\r\nAccept: application/json\r\n{token}"


@benign("api-keepalive", tool="asyncio")
async def api_keepalive(ctx, per_min):
    """Requests over a connection that is kept: by the clock, or in bursts."""
    hosts = need(ctx, "api")

    async def session(lifetime_s):
        host, end_us, headers = ctx.rng.choice(hosts), ctx.now_us() + lifetime_s * 1e6, _headers(ctx.rng)
        burst, period_s = ctx.rng.choice([1, 1, 3, 12]), log_uniform(ctx.rng, 0.5, 40)
        with contextlib.suppress(*NETWORK_ERRORS, ValueError):
            async with _api(ctx, host) as (reader, writer):
                async for _ in every(ctx, period_s):
                    for _ in range(ctx.rng.randint(1, burst)):
                        await _call(ctx, reader, writer, host, headers)
                    if ctx.now_us() > end_us:
                        return

    await sessions(ctx, per_min, session, 20, 600)


async def _call(ctx, reader, writer, host, headers):
    if ctx.rng.random() < 0.7:
        path = f"/v1/items/{ctx.rng.randrange(9999)}?size={int(log_uniform(ctx.rng, 20, 20_000))}"
        await http(reader, writer, "GET", path, host.fqdn, headers=headers)
    else:
        await http(reader, writer, "POST", "/v1/items", host.fqdn, headers=headers,
                   body=ctx.rng.randbytes(int(log_uniform(ctx.rng, 20, 5000))))


@benign("long-poll", tool="asyncio")
async def long_poll(ctx, per_min):
    """Long polls one after the other, on one connection or on many: mostly silence."""
    hosts = need(ctx, "api")

    async def session(lifetime_s):
        host, end_us, headers = ctx.rng.choice(hosts), ctx.now_us() + lifetime_s * 1e6, _headers(ctx.rng)
        with contextlib.suppress(*NETWORK_ERRORS, ValueError):
            async with _api(ctx, host) as (reader, writer):
                while ctx.now_us() < end_us:
                    await http(reader, writer, "GET", "/poll", host.fqdn, headers=headers, timeout_s=90)
                    if ctx.rng.random() < 0.2:
                        await _call(ctx, reader, writer, host, headers)

    await sessions(ctx, per_min, session, 20, 600)


@benign("server-push", tool="asyncio")
async def server_push(ctx, per_min):
    """Server-sent events: the server speaks, the client reads, until one of them leaves."""
    hosts = need(ctx, "api")

    async def session(lifetime_s):
        host = ctx.rng.choice(hosts)
        with contextlib.suppress(*NETWORK_ERRORS):
            async with asyncio.timeout(lifetime_s), _api(ctx, host) as (reader, writer):
                writer.write(f"GET /events HTTP/1.1\r\nHost: {host.fqdn}\r\n{_headers(ctx.rng)}\r\n".encode())
                while await reader.read(65536):
                    pass

    await sessions(ctx, per_min, session, 30, 900)


@benign("file-sync", tool="asyncio")
async def file_sync(ctx, per_min):
    """A synchronising client: a small HTTPS exchange each period, sometimes files in either direction."""
    hosts = need(ctx, "nginx", "wan")

    async def client(period_s):
        host, tls, headers = ctx.rng.choice(hosts), unverified(), _headers(ctx.rng)
        busy = ctx.rng.choice([0.02, 0.1, 0.3])
        async for _ in every(ctx, period_s):
            if ctx.rng.random() < 0.3:
                await ctx.resolve(host.fqdn)
            with contextlib.suppress(*NETWORK_ERRORS, ValueError):
                async with connected(address_of(ctx, host), tls_port(host), tls=tls) as (reader, writer):
                    await http(reader, writer, "GET", "/p/1.html", host.fqdn, headers=headers)
                    if ctx.rng.random() < busy:
                        await _transfer(ctx, reader, writer, host, headers)

    for period_s in periods(ctx.rng, per_min / 1.3, 5, 300):
        ctx.spawn(client(period_s))


async def _transfer(ctx, reader, writer, host, headers):
    for _ in range(ctx.rng.randrange(1, 8)):
        size = int(log_uniform(ctx.rng, 2000, 1_500_000))
        if ctx.rng.random() < 0.5:
            await http(reader, writer, "PUT", "/upload", host.fqdn, headers=headers, body=bytes(size))
        else:
            await http(reader, writer, "GET", f"/p/{ctx.rng.randrange(1, 12)}.html", host.fqdn, headers=headers)
        await ctx.sleep(ctx.rng.uniform(0, 0.8))


@benign("photo-sync", tool="asyncio")
async def photo_sync(ctx, per_min):
    """A phone or laptop that uploads photos bit by bit: long HTTPS uploads in drips, or many small ones."""
    hosts = need(ctx, "nginx", "wan")

    async def drips(lifetime_s):
        host, chunk, gap_s = ctx.rng.choice(hosts), int(log_uniform(ctx.rng, 500, 60_000)), log_uniform(ctx.rng, 0.1, 6)
        count = max(2, int(min(lifetime_s / gap_s, 300, 4e6 / chunk)))
        with contextlib.suppress(*NETWORK_ERRORS):
            async with connected(address_of(ctx, host), tls_port(host), tls=unverified()) as (reader, writer):
                writer.write(f"PUT /upload HTTP/1.1\r\nHost: {host.fqdn}\r\n{_headers(ctx.rng)}"
                             f"Content-Length: {chunk * count}\r\n\r\n".encode())
                for _ in range(count):
                    writer.write(bytes(chunk))
                    await writer.drain()
                    await ctx.sleep(gap_s * ctx.rng.uniform(0.5, 1.5))
                await asyncio.wait_for(reader.read(65536), 20)

    async def pieces(lifetime_s):
        host, end_us = ctx.rng.choice(hosts), ctx.now_us() + lifetime_s * 1e6
        with contextlib.suppress(*NETWORK_ERRORS, ValueError):
            async with connected(address_of(ctx, host), tls_port(host), tls=unverified()) as (reader, writer):
                while ctx.now_us() < end_us:
                    size = int(log_uniform(ctx.rng, 800, 80_000))
                    await http(reader, writer, "POST", "/upload", host.fqdn, body=bytes(size))
                    await ctx.sleep(log_uniform(ctx.rng, 0.2, 12))

    await sessions(ctx, per_min, ctx.rng.choice([drips, pieces]), 15, 300)


@benign("backup-upload", tool="asyncio")
async def backup_upload(ctx, per_min, zone=None, most_mb=20):
    """A backup: one long bulk upload at a steady rate, to a server of the company or in the internet."""
    hosts = need(ctx, "nginx", zone)
    async for _ in ctx.poisson(per_min):
        host, left = ctx.rng.choice(hosts), int(log_uniform(ctx.rng, 0.5e6, most_mb * 1e6))
        secure, rate = ctx.rng.random() < 0.6, log_uniform(ctx.rng, 1e5, 4e6)  # bytes a second
        with contextlib.suppress(*NETWORK_ERRORS):
            async with connected(address_of(ctx, host), tls_port(host) if secure else host.port("nginx", 80),
                                 tls=unverified() if secure else None) as (reader, writer):
                writer.write(f"PUT /upload HTTP/1.1\r\nHost: {host.fqdn}\r\nContent-Length: {left}\r\n\r\n".encode())
                while left > 0:
                    size = min(left, 65536)
                    writer.write(bytes(size))
                    await writer.drain()
                    left -= size
                    await ctx.sleep(size / rate)
                await asyncio.wait_for(reader.read(65536), 30)


@benign("chat-client", tool="asyncio")
async def chat_client(ctx, per_min):
    """A chat over long polls: a waiting connection, a connection a message, reconnects after a lost network."""
    hosts = need(ctx, "api")

    async def session(lifetime_s):
        host, end_us, headers = ctx.rng.choice(hosts), ctx.now_us() + lifetime_s * 1e6, _headers(ctx.rng)
        talkative_s = log_uniform(ctx.rng, 4, 60)

        async def listen():
            with contextlib.suppress(*NETWORK_ERRORS, ValueError):
                async with _api(ctx, host) as (reader, writer):
                    while ctx.now_us() < end_us:
                        await http(reader, writer, "GET", "/poll", host.fqdn, headers=headers, timeout_s=90)

        listening = asyncio.create_task(listen())
        try:
            while ctx.now_us() < end_us:
                await ctx.sleep(ctx.rng.expovariate(1 / talkative_s))
                with contextlib.suppress(*NETWORK_ERRORS, ValueError):
                    async with _api(ctx, host) as (reader, writer):
                        await http(reader, writer, "POST", "/v1/say", host.fqdn, headers=headers, close=True,
                                   body=ctx.rng.randbytes(ctx.rng.randrange(20, 400)))
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)

    await sessions(ctx, per_min / 6, session, 40, 200)
