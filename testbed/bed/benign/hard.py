"""Benign traffic that is hard to tell from attacks: silence, refusals, retries, many users behind one address.

Owns: clients of several services. Never anything but what a healthy or a broken company does by itself. In: flows a
minute. Out: sessions.
"""

import asyncio
import contextlib
import socket

from ..catalog import benign
from ..draws import log_uniform
from ..services.telemetry import BEAT_PORT
from ..tls import unverified
from .monitoring import ssh_command, ssh_suite
from .pace import (
    NETWORK_ERRORS,
    address_of,
    connected,
    datagrams,
    every,
    http,
    need,
    open_ports,
    periods,
    sessions,
    tls_port,
)


@benign("tcp-keepalive", tool="asyncio")
async def tcp_keepalive(ctx, per_min):
    """Connections that last and say nearly nothing: the kernel's keep-alives, rarely a byte."""
    hosts = need(ctx, "collector")

    async def session(lifetime_s):
        idle_s, said_s = ctx.rng.choice([5, 10, 15, 30, 60]), ctx.rng.choice([20, 60, 300])
        end_us = ctx.now_us() + lifetime_s * 1e6
        with contextlib.suppress(*NETWORK_ERRORS):
            async with connected(address_of(ctx, ctx.rng.choice(hosts)), BEAT_PORT) as (reader, writer):
                raw = writer.get_extra_info("socket")
                for option, value in ((socket.TCP_KEEPIDLE, idle_s), (socket.TCP_KEEPINTVL, idle_s)):
                    raw.setsockopt(socket.IPPROTO_TCP, option, value)
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                while ctx.now_us() < end_us:
                    await ctx.sleep(min(ctx.rng.expovariate(1 / said_s), (end_us - ctx.now_us()) / 1e6 + 0.1))
                    writer.write(b".")
                    await reader.read(4096)

    await sessions(ctx, per_min, session, 60, 1200)


@benign("nat-refresh", tool="asyncio")
async def nat_refresh(ctx, per_min, zone=None):
    """Games and telephones that keep a NAT open: a few bytes of UDP each 5 to 30 s, sometimes a lively minute."""
    hosts = need(ctx, "collector", zone)

    async def session(lifetime_s):
        end_us = ctx.now_us() + lifetime_s * 1e6
        size, lively = ctx.rng.choice([1, 2, 4, 20, 28]), ctx.rng.choice([0, 0, 0.05])
        async with datagrams(address_of(ctx, ctx.rng.choice(hosts)), BEAT_PORT) as line:
            async for _ in every(ctx, ctx.rng.choice([5, 10, 15, 20, 25, 30])):
                line.send(ctx.rng.randbytes(size))
                if ctx.rng.random() < lively:
                    await _play(ctx, line)
                if ctx.now_us() > end_us:
                    return

    await sessions(ctx, per_min, session, 60, 1200)


async def _play(ctx, line):
    for _ in range(ctx.rng.randrange(100, 500)):
        line.send(ctx.rng.randbytes(ctx.rng.randrange(30, 160)))
        await ctx.sleep(ctx.rng.uniform(0.02, 0.06))


@benign("retry-down-host", tool="asyncio")
async def retry_down_host(ctx, per_min, silent=0.5):
    """Programs whose server is gone: retries with backoff or by the clock, to a silent address or a closed port."""
    servers = [h for h in ctx.site.hosts if h.zone == "lan" and h is not ctx.host]

    async def program(period_s):
        if ctx.rng.random() < silent or not servers:
            address = ctx.rng.choice([ctx.site.dark_internet4(ctx.rng)[0], *ctx.site.dark4(ctx.rng)])
            port = ctx.rng.choice([22, 80, 443, 445, 3306, 8080])
        else:
            address, port = ctx.rng.choice(servers).address, ctx.rng.randrange(8100, 9000)
        timeout_s, backs_off = ctx.rng.choice([2, 5, 10, 30]), ctx.rng.random() < 0.5
        async for _ in every(ctx, period_s):
            # A round of backoff is as many tries as a round by the clock, but sooner after each other.
            for step in range(4 if backs_off else 1):
                with contextlib.suppress(*NETWORK_ERRORS):
                    async with connected(address, port, timeout_s=timeout_s):
                        pass
                if backs_off:
                    await ctx.sleep(0.5 * 2**step * ctx.rng.uniform(0.8, 1.2))
            if backs_off:
                await ctx.sleep(period_s * 3)

    for period_s in periods(ctx.rng, per_min, 3, 240):
        ctx.spawn(program(period_s))


@benign("refused-storm", tool="asyncio")
async def refused_storm(ctx, per_min):
    """A service restarts: its clients are refused many times a second, then come through at the old port."""
    servers = [h for h in ctx.site.hosts if h.zone == "lan" and h is not ctx.host and open_ports(h)]
    if not servers:
        raise LookupError("refused-storm needs LAN servers")
    tries = min(ctx.rng.choice([8, 20, 60]), max(2, int(per_min * ctx.left_s / 120)))
    async for _ in ctx.poisson(per_min / tries):
        host, gap_s = ctx.rng.choice(servers), log_uniform(ctx.rng, 0.02, 1)
        address, closed = address_of(ctx, host), ctx.rng.randrange(8100, 9000)
        for number in range(tries):
            last = number == tries - 1
            with contextlib.suppress(*NETWORK_ERRORS):
                async with connected(address, ctx.rng.choice(open_ports(host)) if last else closed, timeout_s=3):
                    await ctx.sleep(0.1)
            await ctx.sleep(gap_s * ctx.rng.uniform(0.5, 1.5))


@benign("ci-ssh-loop", tool="asyncssh")
async def ci_ssh_loop(ctx, per_min):
    """A build machine: bursts of short SSH sessions that fetch something, some of them at once."""
    hosts, (user, password) = need(ctx, "sshd"), ctx.rng.choice(ctx.site.users)
    burst, suite = ctx.rng.choice([3, 6, 12]), ssh_suite(ctx.rng)
    async for _ in ctx.poisson(per_min / burst):
        host, gap_s = ctx.rng.choice(hosts), ctx.rng.choice([0.1, 0.5, 2])
        for _ in range(ctx.rng.randrange(burst // 2, burst * 3 // 2 + 1)):
            command = f"head -c {int(log_uniform(ctx.rng, 200, 300_000))} /dev/zero"
            turn = ssh_command(ctx, host, user, password, command, suite)
            if ctx.rng.random() < 0.3:
                ctx.spawn(turn)
            else:
                await turn
            await ctx.sleep(ctx.rng.expovariate(1 / gap_s))


@benign("config-push", tool="asyncssh")
async def config_push(ctx, per_min):
    """Configuration management: one host logs in to every server at once or in turn, several times each."""
    hosts = need(ctx, "sshd", "lan")
    async for _ in ctx.poisson(per_min / (2 * len(hosts))):
        (user, password), suite = ctx.rng.choice(ctx.site.users), ssh_suite(ctx.rng)
        forks, rounds = ctx.rng.choice([1, 3, 10]), ctx.rng.randrange(1, 4)
        for start in range(0, len(hosts), forks):
            turns = [_push(ctx, host, user, password, rounds, suite) for host in hosts[start:start + forks]]
            await asyncio.gather(*turns)


async def _push(ctx, host, user, password, rounds, suite):
    for _ in range(rounds):
        command = f"head -c {int(log_uniform(ctx.rng, 20, 40_000))} /dev/zero; id"
        await ssh_command(ctx, host, user, password, command, suite)
        await ctx.sleep(ctx.rng.uniform(0.05, 1))


@benign("peer-gossip", tool="asyncio")
async def peer_gossip(ctx, per_min):
    """Programs that share updates among peers: one UDP socket, many peers, some of them gone for long."""
    peers = [(address_of(ctx, host, six=0), BEAT_PORT) for host in need(ctx, "collector")]
    count = ctx.rng.randrange(2, 12)
    peers += [(ctx.site.dark_internet4(ctx.rng)[0], ctx.rng.randrange(20_000, 60_000)) for _ in range(count)]

    async def session(lifetime_s):
        end_us, size = ctx.now_us() + lifetime_s * 1e6, ctx.rng.choice([20, 60, 300])
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, family=socket.AF_INET)
        try:
            async for _ in every(ctx, log_uniform(ctx.rng, 1, 30), 0.3):
                for peer in ctx.rng.sample(peers, ctx.rng.randint(1, min(3, len(peers)))):
                    transport.sendto(ctx.rng.randbytes(ctx.rng.randint(size // 2, size)), peer)
                if ctx.now_us() > end_us:
                    return
        finally:
            transport.close()

    await sessions(ctx, per_min / min(len(peers), 8), session, 30, 400)


@benign("busy-nat", tool="asyncio")
async def busy_nat(ctx, per_min):
    """Many users behind one address: independent people at once, at the company's web, mail, API and SSH ports."""
    web = need(ctx, "nginx", "lan" if ctx.host.zone == "wan" else None)
    users = max(1, min(60, round(per_min)))

    async def user():
        rate = per_min / users
        async for _ in ctx.poisson(rate / 3):
            host, secure = ctx.rng.choice(web), ctx.rng.random() < 0.7
            address, think_s = address_of(ctx, host), log_uniform(ctx.rng, 0.2, 6)
            for _ in range(ctx.rng.randrange(1, 6)):
                with contextlib.suppress(*NETWORK_ERRORS, ValueError):
                    await _visit(ctx, host, address, secure)
                await ctx.sleep(ctx.rng.expovariate(1 / think_s))

    for _ in range(users):
        ctx.spawn(user())


async def _visit(ctx, host, address, secure):
    others = [port for port in open_ports(host) if port not in (80, 22)]
    if others and ctx.rng.random() < 0.1:
        async with connected(address, ctx.rng.choice(others)):
            await ctx.sleep(ctx.rng.uniform(0.1, 2))
        return
    async with connected(address, tls_port(host) if secure else host.port("nginx", 80),
                         tls=unverified() if secure else None) as (reader, writer):
        for _ in range(ctx.rng.choice([1, 1, 2, 4, 9])):
            await http(reader, writer, "GET", f"/p/{ctx.rng.randrange(20)}.html", host.fqdn)
            await ctx.sleep(ctx.rng.expovariate(1 / 0.4))


@benign("half-open-clients", tool="asyncio")
async def half_open_clients(ctx, per_min):
    """Clients that connect ahead of need (browsers) and leave without a word, or after one slow request."""
    hosts = need(ctx, "nginx")

    async def ahead(wait_s):
        host = ctx.rng.choice(hosts)
        with contextlib.suppress(*NETWORK_ERRORS, ValueError):
            async with connected(address_of(ctx, host), host.port("nginx", 80)) as (reader, writer):
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait_s):
                        await reader.read(1)
                if ctx.rng.random() < 0.3 and not reader.at_eof():
                    await http(reader, writer, "GET", "/", host.fqdn, close=True)

    await sessions(ctx, per_min, ahead, 2, 60)
