"""Tunnels out of the company: iodine, our own over DNS, ptunnel, SSH forwards, web sockets.

Owns: the tunnel's two kinds of use, typing and hauling. Never routes anything through them but bytes of ours to a far end on
the tunnel's server. In: a context and its bounds. Out: the outer flows; what travels inside has no truth.
"""

import asyncio
import contextlib
import signal
import socket
import time

import aiohttp

from .. import namespaces
from ..catalog import hostile
from ..draws import log_uniform
from ..services import tunnels
from . import crew
from .beacon import address_of, question_name, server_of
from .channels import GONE, Questions, frame, inside, web_client
from .crew import Bounds

_icmp_in_use = set()  # hosts: two ptunnels on one host take each other's packets


async def use(ctx, bounds, reader, writer, manner, rate_bytes_s=None):
    """Works through a tunnel: "shell" types and reads, "idle" hardly speaks, "up" and "down" haul."""
    rng = ctx.rng
    think_s = log_uniform(rng, 0.5, 20) if manner == "shell" else log_uniform(rng, 5, 60)
    while bounds.left_s > 3:
        if manner == "shell":
            await frame(reader, writer, rng.randint(1, 60), min(round(40 * rng.paretovariate(0.7)), 20_000), rng)
        elif manner == "idle":
            await frame(reader, writer, rng.randint(1, 40), rng.randint(1, 40), rng)
        else:
            size = round(log_uniform(rng, 2_000, 60_000))
            up, down = (size, 20) if manner == "up" else (20, size)
            await frame(reader, writer, up, down, rng, rate_bytes_s=rate_bytes_s, ctx=ctx)
        pause_s = rng.lognormvariate(0, 0.8) * think_s if manner in ("shell", "idle") else rng.choice((0, 0, 0, think_s / 20))
        await ctx.sleep(min(pause_s, max(bounds.left_s - 2, 0)))


async def over_iodine(ctx, seconds, manner, options):
    """Brings iodine up, uses it, ends it."""
    rng = ctx.rng
    server = server_of(ctx, "dns-tunnel")
    shared = tunnels.dns_tunnel(server, ctx.site)
    kind, length = options.get("record") or rng.choice(("NULL", "TXT", "CNAME", "MX", "SRV", "PRIVATE")), rng.choice((100, 160, 220, 255))
    device = f"dns{rng.randrange(100, 1000)}"
    argv = ["iodine", "-f", "-P", shared.password, "-d", device, "-T", kind, "-M", length, "-I", rng.choice((1, 4, 10, 30)), "-L", rng.choice((0, 1, 1))]
    if rng.random() < 0.75:
        argv.append("-r")  # else it may leave DNS for bare UDP on port 53
    if rng.random() < 0.7:
        argv += ["-m", rng.choice((100, 200, 500, 1000))]
    bounds, start_us = Bounds(ctx, 1, seconds), ctx.now_us()
    with open(ctx.directory / "iodine.log", "wb") as log:
        program = await ctx.start([*argv, server.address, shared.domain], stdout=log)
    ctx.clock.busy(1)
    try:
        await _device_up(ctx, device, bounds)
        with contextlib.suppress(*GONE):
            reader, writer = await inside(ctx, ctx.host, shared.inside, tunnels.FAR_PORT)
            try:
                await asyncio.wait_for(use(ctx, bounds, reader, writer, manner), max(bounds.left_s, 1) + 5)
            finally:
                writer.transport.abort()
    finally:
        ctx.clock.busy(-1)
        _end(program)
        ctx.window([(server.address, "53", "udp")], start_us)


async def _device_up(ctx, device, bounds):
    """Waits until the tunnel's device has an address; iodine needs some questions for that."""
    until = time.monotonic() + min(25, max(bounds.left_s, 1))
    while time.monotonic() < until:
        shown = await ctx.run(["ip", "-4", "-o", "address", "show", "dev", device], timeout_s=5)
        if b"inet" in shown.output:
            return
        await asyncio.sleep(0.4)
    log = (ctx.directory / "iodine.log").read_bytes()[-200:]
    raise RuntimeError(f"iodine did not come up: {log!r}")


def _end(program):
    namespaces.kill(program, signal.SIGTERM)


@hostile("tunnel-iodine", label="c2", tool="iodine", technique="T1572")
async def tunnel_iodine(ctx, flows, seconds, manner=None, **options):
    """A shell or an idle session over DNS (options: manner shell, idle; record NULL, TXT, CNAME, MX, SRV, PRIVATE)."""
    await over_iodine(ctx, seconds, manner or ctx.rng.choice(("shell", "idle")), options)


@hostile("exfil-iodine", label="exfiltration", tool="iodine", technique="T1048.003")
async def exfil_iodine(ctx, flows, seconds, **options):
    """Bulk upload over DNS by iodine (option record)."""
    await over_iodine(ctx, seconds, "up", options)


@hostile("tunnel-dns", label="c2", tool="dnslib", technique="T1572")
async def tunnel_dns(ctx, flows, seconds, fresh=None):
    """A session as dnscat2 has it: a steady poll, and bursts of data either way; `fresh`: a new socket for each question."""
    rng, bounds = ctx.rng, Bounds(ctx, flows, seconds)
    server = server_of(ctx, "c2-dns")
    poll_s, jitter = log_uniform(rng, 0.2, 8), rng.choice((0, 0.05, 0.3))
    kinds = rng.choice((["TXT"], ["CNAME"], ["MX"], ["TXT", "CNAME", "MX"], ["A", "AAAA"]))
    idle_length, busy_length = rng.choice((10, 18, 26)), rng.choice((40, 80, 120, 180))
    edns, busy_share = rng.random() < 0.4, rng.choice((0.02, 0.1, 0.4))
    fresh = rng.random() < 0.4 if fresh is None else fresh
    busy = 0

    async def ask(questions):
        nonlocal busy
        busy = busy - 1 if busy > 0 else rng.randint(5, 60) if rng.random() < busy_share else 0
        await questions.ask(question_name(rng, server.fqdn, rng.randint(40, 140) if busy else 8, busy_length if busy else idle_length),
                            rng.choice(kinds), edns=edns)
        pause_s = rng.uniform(0.01, 0.1) if busy else poll_s * (1 + rng.uniform(-jitter, jitter))
        await ctx.sleep(min(pause_s, max(bounds.left_s, 0)))

    while bounds.take():
        async with Questions.to(server.address) as questions:
            await ask(questions)
            while not fresh and bounds.left_s > 0 and rng.random() > 0.001:
                await ask(questions)


@hostile("tunnel-icmp", label="c2", tool="ptunnel", technique="T1095")
async def tunnel_icmp(ctx, flows, seconds, manner=None):
    """ptunnel to an outside proxy (option manner: shell, idle, up, down)."""
    rng, bounds = ctx.rng, Bounds(ctx, flows, seconds)
    server = server_of(ctx, "icmp-tunnel")
    while ctx.host.name in _icmp_in_use and bounds.left_s > 5:
        await ctx.sleep(2)
    if ctx.host.name in _icmp_in_use:
        return
    port = rng.randint(20_000, 60_000)
    start_us = ctx.now_us()
    _icmp_in_use.add(ctx.host.name)
    program = await ctx.start(["ptunnel", "-p", server.address, "-lp", port, "-da", "127.0.0.1", "-dp", tunnels.FAR_PORT,
                               "-x", tunnels.icmp_password(server), "-v", "0"])
    ctx.clock.busy(1)
    try:
        await asyncio.sleep(1)
        with contextlib.suppress(*GONE):
            reader, writer = await inside(ctx, ctx.host, "127.0.0.1", port)
            try:
                await asyncio.wait_for(use(ctx, bounds, reader, writer, manner or rng.choice(("shell", "idle", "up", "down")), 20_000),
                                       max(bounds.left_s, 1) + 5)
            finally:
                writer.close()
                await asyncio.sleep(1)
    finally:
        ctx.clock.busy(-1)
        _end(program)
        _icmp_in_use.discard(ctx.host.name)
        ctx.window([(server.address, "", "icmp")], start_us)


@hostile("tunnel-ssh", label="c2", tool="ssh", technique="T1572")
async def tunnel_ssh(ctx, flows, seconds, direction=None, manner=None):
    """OpenSSH to an outside sshd: -L or -R (options: direction L, R; manner as tunnel-icmp), keep-alives or none."""
    rng, bounds = ctx.rng, Bounds(ctx, flows, seconds)
    server = server_of(ctx, "sshd")
    direction = direction or rng.choice("LR")
    user, password = rng.choice(ctx.site.users)
    local, far = rng.randint(20_000, 60_000), server.port("sshd", 22)
    forward = ["-L", f"127.0.0.1:{local}:127.0.0.1:{far}"] if direction == "L" else ["-R", f"127.0.0.1:{local}:127.0.0.1:{local + 1}"]
    argv = ["sshpass", "-p", password, "ssh", "-N", *forward, "-p", far, "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
            "-o", "PreferredAuthentications=password", "-o", f"ServerAliveInterval={rng.choice((0, 5, 15, 60))}",
            "-o", f"Compression={rng.choice(('yes', 'no'))}", f"{user}@{server.address}"]
    start_us = ctx.now_us()
    program = await ctx.start(argv)
    ctx.clock.busy(1)
    try:
        await asyncio.sleep(rng.uniform(2, 4))
        with contextlib.suppress(*GONE):
            await _forwarded(ctx, bounds, server, direction, local, manner or rng.choice(("shell", "idle", "up", "down")))
    finally:
        ctx.clock.busy(-1)
        _end(program)
        ctx.window([(server.address, str(far), "tcp")], start_us)


async def _forwarded(ctx, bounds, server, direction, local, manner):
    """Bytes through the forward. R: a far end on our loopback, spoken to from the server's side. L: the server's own sshd
    takes the bytes, after its banner, until it has had enough."""
    if direction == "R":
        carried = _loopback_listener(ctx, local + 1)
        listener = await asyncio.start_server(tunnels.serve_frames, sock=carried)
        try:
            reader, writer = await inside(ctx, server, "127.0.0.1", local)
            try:
                await asyncio.wait_for(use(ctx, bounds, reader, writer, manner), max(bounds.left_s, 1) + 5)
            finally:
                writer.close()
        finally:
            listener.close()
        return
    while bounds.left_s > 3:
        reader, writer = await inside(ctx, ctx.host, "127.0.0.1", local)
        try:
            writer.write(b"SSH-2.0-OpenSSH_9.6\r\n" + ctx.rng.randbytes(ctx.rng.randint(50, 2000)))
            await asyncio.wait_for(reader.read(4096), 10)
        finally:
            writer.close()
        pause_s = log_uniform(ctx.rng, 0.5, 8) if manner != "idle" else log_uniform(ctx.rng, 5, 60)
        await ctx.sleep(min(pause_s, max(bounds.left_s - 2, 0)))


def _loopback_listener(ctx, port):
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.untold()
    listener.bind(("127.0.0.1", port))
    return listener


@hostile("tunnel-http", label="c2", tool="aiohttp", technique="T1572")
async def tunnel_http(ctx, flows, seconds, manner=None):
    """A web socket that carries a tunnel, as chisel's does; pings keep it open (option manner: shell, idle, up, down)."""
    rng, bounds = ctx.rng, Bounds(ctx, flows, seconds)
    server = server_of(ctx, "c2-https", "c2-http")
    tls = bool(server.offers("c2-https"))
    port = server.port("c2-https", 443) if tls else server.port("c2-http", 80)
    manner, ping_s = manner or rng.choice(("shell", "idle", "up", "down")), rng.choice((None, 10, 25, 60))
    async with web_client(ctx) as client:
        while bounds.take() and bounds.left_s > 3:
            with contextlib.suppress(*GONE):
                url = crew.url(address_of(ctx, server), port, tls, rng.choice(("/ws", "/", "/socket", "/chat")))
                async with client.ws_connect(url, heartbeat=ping_s, max_msg_size=0, compress=0) as web_socket:
                    await _messages(ctx, bounds, web_socket, manner)
            await ctx.sleep(min(rng.uniform(1, 20), max(bounds.left_s, 0)))


async def _messages(ctx, bounds, web_socket, manner):
    rng = ctx.rng
    think_s = {"shell": log_uniform(rng, 0.3, 20), "idle": log_uniform(rng, 5, 90)}.get(manner, rng.choice((0.02, 0.2, 1)))
    ends_us = ctx.now_us() + 1e6 * rng.choice((bounds.left_s, rng.uniform(10, 600)))
    while bounds.left_s > 2 and ctx.now_us() < ends_us:
        small, big = rng.randint(4, 200), round(log_uniform(rng, 500, 60_000))
        up, down = {"shell": (small, big // 10), "idle": (small, 20), "up": (big, 4), "down": (small, big)}[manner]
        await web_socket.send_bytes(down.to_bytes(4) + rng.randbytes(up))
        reply = await asyncio.wait_for(web_socket.receive(), 20)
        if reply.type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR, aiohttp.WSMsgType.CLOSE):
            return
        await ctx.sleep(min(rng.lognormvariate(0, 0.7) * think_s, max(bounds.left_s, 0)))
