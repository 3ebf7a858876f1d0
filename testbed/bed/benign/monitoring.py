"""Monitoring: what asks many hosts for little, again and again, dead ones too.

Owns: SNMP polls, health checks, scrapes, SSH checks, and the owner's own scans, which are benign by policy. In: flows a
minute. Out: polls.
"""

import asyncio
import contextlib
import ipaddress

from ..catalog import benign
from ..draws import log_uniform
from ..services.telemetry import AGENT_PORT, community
from ..tls import unverified
from .pace import (
    NETWORK_ERRORS,
    address_of,
    connected,
    datagrams,
    every,
    http,
    need,
    open_ports,
    shares,
    tls_port,
)


@benign("snmp-polling", tool="asyncio")
async def snmp_polling(ctx, per_min, silent=0.15):
    """A poller of many devices: gets and walks each round; a share of them does not answer (`silent`)."""
    live = need(ctx, "snmp")
    for share in shares(ctx.rng, per_min):
        ctx.spawn(_poll_devices(ctx, share, live, silent))


async def _poll_devices(ctx, per_min, live, silent):
    mute = ctx.site.dark4(ctx.rng, 2) + [ctx.site.dark_internet4(ctx.rng)[0], ctx.rng.choice(live).address]
    walks, tries = ctx.rng.choice([0, 4, 15, 60]), ctx.rng.choice([1, 2, 4])

    async def ask(_number):
        if ctx.rng.random() < silent:
            address, port, secret = ctx.rng.choice(mute), ctx.rng.choice([161, 1161]), "public"
        else:
            host = ctx.rng.choice(live)
            address, port, secret = address_of(ctx, host), host.port("snmp", 161), community(host)
        async with datagrams(address, port) as line:
            await _walk(ctx, line, secret, walks, tries)

    await _rounds(ctx, per_min, 5, 300, ask)


async def _rounds(ctx, per_min, low_s, high_s, check):
    """Rounds of checks, numbered on and on: all at once, one after the other, or spread over the period."""
    if per_min <= 0:
        return
    size = min(max(round(per_min * log_uniform(ctx.rng, low_s, high_s) / 60), 1), 60)
    period_s, number = size * 60 / per_min, 0
    gap_s = min(ctx.rng.choice([0, 0.01, 0.2, period_s]), 0.9 * period_s / size)
    async for _ in every(ctx, period_s):
        for _ in range(size):
            ctx.spawn(_checked(check, number))
            number += 1
            await ctx.sleep(gap_s)


async def _checked(check, number):
    with contextlib.suppress(*NETWORK_ERRORS, ValueError):
        await check(number)


async def _walk(ctx, line, secret, steps, tries):
    oid, bulk = (1, 3, 6, 1, 2, 1, 1), ctx.rng.choice([1, 10, 25])
    for _ in range(steps + 1):
        kind = 0xA5 if bulk > 1 and steps else 0xA1
        request = _snmp(secret, kind, ctx.rng.getrandbits(30), oid, bulk)
        for _ in range(tries):
            answer = await line.ask(request, 1.0)
            if answer:
                break
        else:
            return
        following = _last_oid(answer)
        if following is None or following <= oid:
            return
        oid = following


def _snmp(secret, kind, number, oid, bulk):
    """An SNMPv2c request (RFC 3416)."""
    head = _integer(number) + _integer(0) + _integer(bulk if kind == 0xA5 else 0)
    bindings = _tlv(0x30, _tlv(0x30, _tlv(6, _oid(oid)) + _tlv(5, b"")))
    return _tlv(0x30, _integer(1) + _tlv(4, secret.encode()) + _tlv(kind, head + bindings))


def _tlv(tag, body):
    if len(body) < 128:
        return bytes([tag, len(body)]) + body
    size = len(body).to_bytes((len(body).bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(size)]) + size + body


def _integer(value):
    return _tlv(2, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def _oid(numbers):
    body = bytes([numbers[0] * 40 + numbers[1]])
    for number in numbers[2:]:
        digits = [number & 0x7F]
        while number := number >> 7:
            digits.append(number & 0x7F | 0x80)
        body += bytes(reversed(digits))
    return body


def _last_oid(data):
    """The object identifier of the last binding of an answer; None if there is none."""
    last, stack = None, [data]
    try:
        while stack:
            part = stack.pop(0)
            while part:
                tag, size, at = part[0], part[1], 2
                if size & 0x80:
                    at = 2 + (size & 0x7F)
                    size = int.from_bytes(part[2:at], "big")
                body, part = part[at:at + size], part[at + size:]
                if tag == 6:
                    last = _numbers(body)
                elif tag in (0x30, 0xA2):
                    stack.append(body)
    except IndexError:
        return None
    return last


def _numbers(body):
    found, number = [body[0] // 40, body[0] % 40], 0
    for byte in body[1:]:
        number = number << 7 | byte & 0x7F
        if not byte & 0x80:
            found.append(number)
            number = 0
    return tuple(found)


@benign("health-checks", tool="asyncio")
async def health_checks(ctx, per_min, dead=0.25):
    """Connects and closes on many ports of many hosts; a share (`dead`) is closed or silent, and stays in the list."""
    targets = [(h, port) for h in ctx.site.hosts if h.zone == "lan" and h is not ctx.host for port in open_ports(h)]
    if not targets:
        raise LookupError("health-checks needs LAN servers")
    for share in shares(ctx.rng, per_min, most=6):
        ctx.spawn(_check_ports(ctx, share, targets, dead))


async def _check_ports(ctx, per_min, targets, dead):
    closed = [(ctx.rng.choice(targets)[0].address, port) for port in ctx.rng.sample(range(7000, 9000), 4)]
    closed += [(address, ctx.rng.choice([22, 80, 443, 3389])) for address in ctx.site.dark4(ctx.rng, 2) + [ctx.site.dark_internet4(ctx.rng)[0]]]
    timeout_s, resets, waits_s = ctx.rng.choice([1, 2, 5, 10]), ctx.rng.random() < 0.4, ctx.rng.choice([0, 0, 0.05, 0.5])
    listed = [ctx.rng.choice(closed) if ctx.rng.random() < dead else _address_and_port(*ctx.rng.choice(targets))
              for _ in range(ctx.rng.randrange(3, 40))]

    async def check(number):
        address, port = listed[number % len(listed)]
        async with connected(address, port, timeout_s=timeout_s, reset=resets):
            if waits_s:
                await ctx.sleep(waits_s)

    await _rounds(ctx, per_min, 2, 120, check)


def _address_and_port(host, port):
    return host.address, port


@benign("health-http", tool="asyncio")
async def health_http(ctx, per_min):
    """GET or HEAD of a health page, a new connection each."""
    targets = [(h, h.port("agent", AGENT_PORT), "/health") for h in ctx.site.servers("agent", "lan")]
    targets += [(h, h.port("nginx", 80), "/") for h in ctx.site.servers("nginx", "lan")]
    targets += [(h, h.port("api", 8000), "/health") for h in ctx.site.servers("api", "lan")
                if not h.offers("api").options.get("tls")]
    targets = [each for each in targets if each[0] is not ctx.host]
    if not targets:
        raise LookupError("health-http needs agent, nginx or api")
    for share in shares(ctx.rng, per_min, most=6):
        ctx.spawn(_check_pages(ctx, share, targets))


async def _check_pages(ctx, per_min, targets):
    targets = ctx.rng.sample(targets, ctx.rng.randint(1, len(targets)))
    method, tls = ctx.rng.choice(["GET", "GET", "HEAD"]), unverified()

    async def check(number):
        host, port, path = targets[number % len(targets)]
        secure = path == "/" and number % 2
        async with connected(address_of(ctx, host), tls_port(host) if secure else port, tls=tls if secure else None,
                             timeout_s=5) as (reader, writer):
            await http(reader, writer, method, path, host.fqdn, close=True, timeout_s=5)

    await _rounds(ctx, per_min, 2, 60, check)


@benign("metrics-scrape", tool="asyncio")
async def metrics_scrape(ctx, per_min, period_s=None):
    """Scrapes of every agent each period (15 s and the like); connections are kept and renewed at `per_min`."""
    hosts = need(ctx, "agent")
    period_s = period_s or ctx.rng.choice([5, 10, 15, 15, 30, 60])

    async def scrape(host, life_s):
        async for _ in every(ctx, period_s, 0.01):
            end_us = ctx.now_us() + life_s * 1e6
            with contextlib.suppress(*NETWORK_ERRORS, ValueError):
                async with connected(address_of(ctx, host), host.port("agent", AGENT_PORT)) as (reader, writer):
                    await http(reader, writer, "GET", "/metrics", host.fqdn, headers="Accept-Encoding: identity\r\n")
                    async for _ in every(ctx, period_s, 0.01):
                        if ctx.now_us() > end_us:
                            break
                        await http(reader, writer, "GET", "/metrics", host.fqdn)

    if per_min <= 0:
        return
    # One connection lives as long as gives `per_min` new ones; below one period each scrape has its own.
    life_s = max(len(hosts) * 60 / per_min - period_s, 0)
    for host in hosts:
        ctx.spawn(scrape(host, life_s))


@benign("monitoring-ssh", tool="asyncssh")
async def monitoring_ssh(ctx, per_min):
    """Logs in to each server in turn, runs a short command, leaves."""
    hosts = need(ctx, "sshd", "lan")
    for share in shares(ctx.rng, per_min, least=3):
        ctx.spawn(_check_shells(ctx, share, hosts))


async def _check_shells(ctx, per_min, hosts):
    user, password = ctx.rng.choice(ctx.site.users)
    suite = ssh_suite(ctx.rng)
    command = ctx.rng.choice(["uptime", "df -h", "cat /proc/loadavg /proc/meminfo", "true"])

    async def check(number):
        await ssh_command(ctx, hosts[number % len(hosts)], user, password, command, suite)

    await _rounds(ctx, per_min, 20, 90, check)


def ssh_suite(rng):
    """What one SSH client offers: its own choice of key exchange, cipher and compression."""
    return {
        "kex_algs": rng.choice([["curve25519-sha256"], ["ecdh-sha2-nistp256"], ["ecdh-sha2-nistp521"],
                                ["curve25519-sha256", "ecdh-sha2-nistp256", "ecdh-sha2-nistp384"]]),
        "encryption_algs": rng.choice([["aes128-ctr"], ["aes256-gcm@openssh.com"],
                                       ["chacha20-poly1305@openssh.com", "aes256-ctr"]]),
        "compression_algs": rng.choice([["none"], ["none"], ["zlib@openssh.com", "none"]]),
    }


async def ssh_command(ctx, host, user, password, command, suite=None):
    """One SSH login with one command; whether it came to pass."""
    import asyncssh
    with contextlib.suppress(*NETWORK_ERRORS, asyncssh.Error):
        async with asyncssh.connect(address_of(ctx, host), host.port("sshd", 22), username=user, password=password,
                                    known_hosts=None, config=None, client_keys=None, agent_path=None,
                                    preferred_auth="password", login_timeout=20, connect_timeout=10,
                                    **(suite or ssh_suite(ctx.rng))) as client:
            await asyncio.wait_for(client.run(command, stdin=asyncssh.DEVNULL), 20)
            return True
    return False


@benign("policy-scan", tool="nmap")
async def policy_scan(ctx, per_min):
    """The owner's vulnerability scan: one server after the other, slowly, announced and therefore benign."""
    servers = [h for h in ctx.site.hosts if h.zone == "lan" and h.role == "server" and h is not ctx.host]
    if not servers or per_min <= 0:
        return
    while ctx.left_s > 30:
        target, ports = ctx.rng.choice(servers), ctx.rng.choice([20, 60, 100])
        pause_s = ports * 60 / per_min
        probes_per_s = max(log_uniform(ctx.rng, 0.5, 8), ports / max(ctx.left_s * 0.7, 1))
        await ctx.sleep(min(pause_s * ctx.rng.uniform(0.1, 0.5), ctx.left_s / 3))
        argv = ["nmap", "-n", "-Pn", ctx.rng.choice(["-sT", "-sS"]), "--top-ports", str(ports), "--max-rate",
                f"{probes_per_s:.2f}", "--max-retries", str(ctx.rng.choice([1, 2, 3])), target.address]
        if ctx.rng.random() < 0.4:
            argv += ["-sV", "--version-intensity", "2"]
        timeout_s = min(ctx.left_s - 3, ports / probes_per_s * 3 + 90)
        await ctx.run(argv, to=[(target.address, "", "*")], timeout_s=timeout_s)
        await ctx.sleep(min(pause_s * ctx.rng.uniform(0.3, 0.8), max(ctx.left_s - 1, 0)))


@benign("policy-inventory", tool="fping")
async def policy_inventory(ctx, per_min):
    """The asset inventory: an ICMP sweep of one of the company's /24, then SNMP and connects to what is there."""
    lan = [h for h in ctx.site.hosts if h.zone == "lan" and h is not ctx.host]
    nets = sorted({str(ipaddress.ip_network(f"{h.address}/24", strict=False)) for h in lan})
    if not nets or per_min <= 0:
        return
    while ctx.left_s > 10:
        net = ipaddress.ip_network(ctx.rng.choice(nets))
        here = [h for h in lan if ipaddress.ip_address(h.address) in net]
        pause_s = 5 * len(here) * 60 / per_min
        await ctx.sleep(min(pause_s * ctx.rng.uniform(0.1, 0.5), ctx.left_s / 3))
        await ctx.run(["fping", "-q", "-r", ctx.rng.choice([0, 1]), "-i", ctx.rng.choice([2, 10, 50]), "-g", net],
                      to=[(str(net), "", "icmp")], timeout_s=min(40, max(ctx.left_s - 3, 1)))
        for host in here:
            await _checked(lambda _, host=host: _look(ctx, host), 0)
            await ctx.sleep(ctx.rng.uniform(0, 0.5))
        await ctx.sleep(min(pause_s * ctx.rng.uniform(0.4, 0.9), max(ctx.left_s - 1, 0)))


async def _look(ctx, host):
    async with datagrams(host.address, 161) as line:
        await _walk(ctx, line, "public", 0, 1)
    for port in (22, 80, 443):
        with contextlib.suppress(*NETWORK_ERRORS):
            async with connected(host.address, port, timeout_s=2):
                pass
