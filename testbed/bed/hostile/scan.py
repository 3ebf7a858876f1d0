"""Scans: who is there, and what is open, by nmap, masscan, hping3, fping and our own, fast and slow.

Owns: the choice of targets, ports and timing. Never scans what the span port does not see. In: a context and bounds.
Out: probes; truth by target for programs (all protocols: ICMP errors belong to the scan), by socket for ours.
"""

import asyncio
import ipaddress
import random
import socket
import ssl
import struct

from ..catalog import hostile
from ..draws import log_uniform
from ..plan import GATEWAY_MAC
from ..tls import unverified
from .crew import Bounds, Pace, attempts, zone_of_targets

COMMON = tuple(
    map(
        int,
        """
    21 22 23 25 53 80 81 88 110 111 113 119 135 139 143 179 199 389 443 445 465 502 514 515 548 554 587 631 636 873
    993 995 1025 1080 1433 1521 1723 1883 2049 2222 2375 3000 3128 3306 3389 4443 4840 5000 5060 5432 5555 5900 5985
    6379 6667 7001 8000 8008 8080 8081 8443 8883 8888 9000 9090 9100 9200 10000 11211 20000 27017 47808 50000
""".split(),
    )
)
COMMON_UDP = tuple(
    map(
        int,
        """
    53 67 69 111 123 137 138 161 162 500 514 520 623 1194 1434 1701 1900 4500 5060 5353 5683 11211 20000 33434 47808
    49152
""".split(),
    )
)


# Targets.


def live4(ctx, zone) -> list[str]:
    """Addresses of hosts in a zone, but ours."""
    return [
        a for h in ctx.site.hosts if h is not ctx.host and h.zone == zone and h.role != "attacker" for a in h.addresses4
    ]


def crowd(ctx, count: int, where: str | None = None) -> list[str]:
    """`count` addresses to scan, live ones among dark ones, in one order or another."""
    zone, rng = zone_of_targets(ctx, where), ctx.rng
    live = live4(ctx, zone)
    wanted = max(1, min(len(live), round(count * log_uniform(rng, 0.1, 1.0))))
    found = rng.sample(live, wanted) if live else []
    missing = count - len(found)
    found += ctx.site.dark4(rng, missing) if zone == "lan" else ctx.site.dark_internet4(rng, missing)
    found = list(dict.fromkeys(found))
    if rng.random() < 0.5:
        found.sort(key=ipaddress.ip_address)
    else:
        rng.shuffle(found)
    return found


def block(ctx, flows: int, where: str | None = None) -> ipaddress.IPv4Network:
    """A network around a live address, as big as the budget allows: /30 to /24."""
    rng = ctx.rng
    live = live4(ctx, zone_of_targets(ctx, where))
    if not live:
        raise LookupError("nobody to scan")
    widest = max(24, 32 - max(flows, 4).bit_length() + 1)
    return ipaddress.ip_network(f"{rng.choice(live)}/{rng.randint(widest, min(widest + 3, 30))}", strict=False)


def aim(ctx, probes: int, where: str | None = None) -> tuple[list[str], int]:
    """Targets and a number of ports for about `probes` probes: one host deeply, some, or many on a port or two."""
    rng = ctx.rng
    shape = rng.choices(("deep", "mixed", "wide"), (4, 3, 3))[0]
    if shape == "deep":
        return crowd(ctx, 1, where), max(1, min(probes, round(log_uniform(rng, 8, 1000))))
    count = rng.randint(2, 12) if shape == "mixed" else round(log_uniform(rng, 12, 250))
    count = max(1, min(count, probes))
    each = max(1, probes // count)
    return crowd(ctx, count, where), min(each, rng.randint(3, 60) if shape == "mixed" else rng.randint(1, 3))


def port_list(rng: random.Random, count: int, common=COMMON) -> list[int]:
    """`count` ports: the known ones, a range, or any."""
    kind = rng.choices(("common", "range", "any"), (5, 2, 2))[0]
    if kind == "range":
        first = rng.choice((1, 1, 20, 1000, rng.randint(1, 60000)))
        return list(range(first, min(first + count, 65536)))
    if kind == "any":
        return rng.sample(range(1, 65536), count)
    found = rng.sample(common, min(count, len(common)))
    rest = [p for p in range(1, 10_000) if p not in found]
    return found + rng.sample(rest, count - len(found))


def _joined(ports):
    """Ports as nmap and masscan want them: 1-3,7."""
    spans = []
    for port in sorted(ports):
        if spans and port == spans[-1][1] + 1:
            spans[-1][1] = port
        else:
            spans.append([port, port])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in spans)


def _all_of(addresses):
    return [(str(a), "", "*") for a in addresses]


# nmap.


def _nmap_timing(rng, seconds, timing=None):
    """nmap's timing options, and how many probes to one host they leave time for."""
    timing = timing or rng.choices(("quick", "usual", "rate", "polite", "delay", "sneaky"), (4, 3, 4, 1, 3, 1))[0]
    if timing == "quick":
        return ["-T" + rng.choice("45")] + (
            ["--min-rate", str(rng.randint(50, 1500))] if rng.random() < 0.3 else []
        ), 10_000
    if timing == "usual":
        return ["-T3"], 10_000
    if timing == "rate":
        rate = log_uniform(rng, 2, 800)
        return ["-T" + rng.choice("345"), "--max-rate", f"{rate:.1f}"], max(1, int(0.8 * rate * seconds))
    if timing == "polite":
        return ["-T2"], max(1, int(seconds / 0.45))
    if timing == "sneaky":
        return ["-T1"], max(1, int(seconds / 16))
    delay_s = log_uniform(rng, 0.05, 15)
    return ["--scan-delay", f"{delay_s * 1000:.0f}ms", "--max-scan-delay", f"{delay_s * 1000:.0f}ms"], max(
        1, int(seconds / delay_s)
    )


def _nmap_disguise(ctx, targets):
    """Options that change what probes look like; gives them, our source, and the decoys' addresses."""
    rng, host = ctx.rng, ctx.host
    options, decoys = [], []
    source = rng.choice(host.addresses4)
    if source != host.address:
        options += ["-S", source, "-e", "eth0"]
    if rng.random() < 0.2:
        options += ["-g", str(rng.choice((20, 53, 67, 80, 88, 123, 443, rng.randint(1024, 65000))))]
    if rng.random() < 0.2:
        options += ["--ttl", str(rng.choice((48, 57, 64, 100, 128, 200, 255)))]
    if rng.random() < 0.15:
        options += ["--data-length", str(rng.randint(1, 120))]
    if rng.random() < 0.08 and host.zone == "wan" and len(targets) < 20:
        decoys = ctx.site.dark_internet4(rng, rng.randint(1, 4))
        options += ["-D", ",".join([*decoys, "ME"])]
    elif rng.random() < 0.04:
        options += ["-f"]
    return options, source, decoys


async def _nmap(
    ctx,
    flows,
    seconds,
    kind,
    *,
    raw=True,
    cost=1.3,
    common=COMMON,
    six=False,
    extra=(),
    where=None,
    timing=None,
    ports=None,
):
    rng = ctx.rng
    timings, most = _nmap_timing(rng, seconds, timing)
    retries = rng.choice((0, 1, 1, 2))
    budget = max(1, int(flows / cost / (1 + 0.6 * retries)))
    if six:
        known = [
            h.address6
            for h in ctx.site.hosts
            if h is not ctx.host and h.address6 and h.role != "attacker" and h.zone == zone_of_targets(ctx, where)
        ]
        targets = rng.sample(known, min(len(known), rng.randint(1, 12)))
        if not targets or not ctx.host.address6:
            raise LookupError("no IPv6 to scan")
        count = min(budget // len(targets) + 1, round(log_uniform(rng, 1, 600)))
    else:
        targets, count = aim(ctx, budget, where)
    disguise, source, decoys = _nmap_disguise(ctx, targets) if raw and not six else ([], None, [])
    count = max(1, min(count, most, budget // (len(targets) * (len(decoys) + 1)) or 1))
    argv = [
        "nmap",
        "-n",
        *kind,
        *timings,
        *disguise,
        *extra,
        "--max-retries",
        str(retries),
        "--host-timeout",
        f"{int(seconds)}s",
    ]
    if "-sO" in kind:
        argv += ["-p", _joined(rng.sample(range(256), min(count, 256)))]
    else:
        argv += ["-p", _joined(ports or port_list(rng, count, common))]
        argv += ["-r"] if rng.random() < 0.25 else []
    if rng.random() < 0.6:
        argv.append("-Pn")
    if six:
        argv.append("-6")
    start_us = ctx.now_us()
    await ctx.run([*argv, *targets], to=_all_of(targets), timeout_s=seconds, source=source)
    for decoy in decoys:
        ctx.window(_all_of(targets), start_us, source=decoy)


def _nmap_kind(name, *kind, **fixed):
    @hostile(f"scan-nmap-{name}", label="scan", tool="nmap", technique="T1046")
    async def scan(ctx, flows, seconds, **options):
        await _nmap(ctx, flows, seconds, kind, **fixed, **options)


_nmap_kind("syn", "-sS")
_nmap_kind("connect", "-sT", raw=False)
_nmap_kind("fin", "-sF", cost=2)
_nmap_kind("xmas", "-sX", cost=2)
_nmap_kind("null", "-sN", cost=2)
_nmap_kind("ack", "-sA")
_nmap_kind("window", "-sW")
_nmap_kind("maimon", "-sM", cost=2)
_nmap_kind("udp", "-sU", cost=2, common=COMMON_UDP)
_nmap_kind("protocol", "-sO", cost=2)
_nmap_kind("version", "-sV", raw=False, cost=4, extra=("--version-intensity", "3"))
_nmap_kind("os", "-sS", "-O", raw=False, cost=4, extra=("--max-os-tries", "1"))


@hostile("scan-ipv6", label="scan", tool="nmap", technique="T1046")
async def scan_ipv6(ctx, flows, seconds, **options):
    """IPv6 by nmap, raw or by connections."""
    await _nmap(ctx, flows, seconds, (ctx.rng.choice(("-sS", "-sT", "-sA", "-sU")),), six=True, cost=1.5, **options)


# Sweeps.


@hostile("scan-sweep", label="scan", tool="nmap", technique="T1018")
async def sweep(ctx, flows, seconds, *, where=None, timing=None):
    """Who answers: ICMP, TCP or UDP pings over a network or a list."""
    rng = ctx.rng
    pings = {
        "echo": (["-PE"], 1),
        "stamp": (["-PP"], 1),
        "syn": ([f"-PS{rng.choice((22, 80, 443, 445))}"], 1),
        "ack": ([f"-PA{rng.choice((80, 443))}"], 1),
        "udp": ([f"-PU{rng.choice((53, 161, 40125))}"], 1),
        "usual": ([], 4),
    }
    options, each = pings[rng.choice(tuple(pings))]
    budget = max(4, int(flows / each / 1.5))
    timings, most = _nmap_timing(rng, seconds, timing or rng.choice(("quick", "usual", "rate", "delay")))
    if rng.random() < 0.5:
        targets = [str(block(ctx, min(budget, most), where))]
    else:
        targets = crowd(ctx, min(budget, most, round(log_uniform(rng, 8, 250))), where)
    arp = ["--disable-arp-ping"] if rng.random() < 0.7 else []
    order = ["--randomize-hosts"] if rng.random() < 0.4 else []
    await ctx.run(
        ["nmap", "-n", "-sn", *options, *timings, *arp, *order, "--max-retries", rng.choice("01"), *targets],
        to=_all_of(targets),
        timeout_s=seconds,
    )


@hostile("scan-sweep-fping", label="scan", tool="fping", technique="T1018")
async def sweep_fping(ctx, flows, seconds, *, where=None):
    """ICMP echo over many addresses."""
    rng = ctx.rng
    gap_ms = min(log_uniform(rng, 1, 3000), 900 * seconds / max(flows, 1) + 1000)
    targets = crowd(ctx, max(2, min(flows, round(log_uniform(rng, 8, 250)), int(900 * seconds / gap_ms))), where)
    await ctx.run(
        [
            "fping",
            "-q",
            "-r",
            str(rng.randint(0, 2)),
            "-i",
            f"{gap_ms:.0f}",
            "-t",
            str(rng.randint(200, 2000)),
            "-b",
            str(rng.choice((0, 12, 24, 56, 56, 120, 500))),
            *targets,
        ],
        to=_all_of(targets),
        timeout_s=seconds,
    )


# masscan and hping3.


@hostile("scan-masscan", label="scan", tool="masscan", technique="T1046")
async def masscan(ctx, flows, seconds, *, where=None, rate=None):
    """masscan with its own stack: one source port or a range, a rate, a network or a list."""
    rng = ctx.rng
    wait_s = rng.randint(1, 4)
    rate = rate or log_uniform(rng, 3, 1500)
    budget = max(1, int(min(flows, rate * max(seconds - wait_s - 3, 1))))
    source = rng.choice(ctx.host.addresses4)
    if rng.random() < 0.5:
        network = block(ctx, budget, where)
        targets, count = [str(network)], max(1, min(budget // network.num_addresses, 20))
    else:
        targets, count = aim(ctx, budget, where)
    argv = [
        "masscan",
        *targets,
        "-p" + _joined(port_list(rng, count)),
        "--rate",
        f"{rate:.0f}",
        "--wait",
        str(wait_s),
        "--interface",
        "eth0",
        "--router-mac",
        GATEWAY_MAC,
        "--source-ip",
        source,
        "--seed",
        str(rng.getrandbits(30)),
        "--retries",
        str(rng.choice((0, 0, 1)) if count * 2 * len(targets) < flows else 0),
    ]
    draw = rng.random()
    if draw < 0.4:
        argv += ["--source-port", str(rng.randint(1024, 65000))]
    elif draw < 0.6:
        first = rng.randint(30000, 50000)
        argv += ["--source-port", f"{first}-{first + 2 ** rng.randint(2, 11) - 1}"]
    if rng.random() < 0.3:
        argv += ["--ttl", str(rng.choice((57, 64, 128, 255)))]
    await ctx.run(argv, to=_all_of(targets), timeout_s=seconds, source=source)


@hostile("scan-hping3", label="scan", tool="hping3", technique="T1046")
async def hping(ctx, flows, seconds, *, where=None):
    """hping3 counts the port up, with flags of its own, one target after another."""
    rng, bounds = ctx.rng, Bounds(ctx, flows, seconds)
    flags = rng.choice((["-S"], ["-S"], ["-F"], ["-A"], ["-F", "-P", "-U"], [], ["-R"], ["-S", "-Y"], ["-2"]))
    gap_us = log_uniform(rng, 800, 3_000_000)
    options = ["-w", str(rng.choice((64, 512, 1024, 8192, 65535)))] if flags != ["-2"] else []
    options += ["-s", str(rng.randint(1024, 60000))] + (["-k"] if rng.random() < 0.3 else [])
    options += ["-d", str(rng.randint(1, 200))] if rng.random() < 0.2 else []
    targets, count = aim(ctx, flows, where)
    for target in targets:
        number = min(count, bounds.flows, int(bounds.left_s * 1e6 / gap_us))
        if number < 1:
            return
        bounds.take(number)
        first = rng.choice((1, rng.choice(COMMON), rng.randint(1, 60000)))
        await ctx.run(
            [
                "hping3",
                "-q",
                "-n",
                "-I",
                "eth0",
                *flags,
                *options,
                "-p",
                f"++{first}",
                "-c",
                str(number),
                "-i",
                f"u{gap_us:.0f}",
                target,
            ],
            to=_all_of([target]),
            timeout_s=number * gap_us / 1e6 + 3,
        )


# Our own.


class _Knock:
    """How our scanner connects: timeout, what it sends, how it closes."""

    def __init__(self, rng, *, banner=None):
        self._rng = rng
        self.timeout_s = log_uniform(rng, 0.3, 5)
        self.banner = rng.random() < 0.2 if banner is None else banner
        self.hold_s = rng.choice((0, 0, log_uniform(rng, 0.01, 1)))
        self.reset = rng.random() < 0.3

    async def at(self, ctx, address, port):
        """Connects, perhaps talks, closes."""
        writer = None
        try:
            reader, writer = await asyncio.wait_for(asyncio.open_connection(address, port), self.timeout_s)
            if self.reset:
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            if self.banner:
                await asyncio.wait_for(self._talk(reader, writer, port), self.timeout_s)
            elif self.hold_s:
                await ctx.sleep(self.hold_s)
        except (OSError, TimeoutError, ssl.SSLError):
            pass
        finally:
            if writer is not None:
                writer.close()

    async def _talk(self, reader, writer, port):
        greeting = {
            80: b"HEAD / HTTP/1.0\r\n\r\n",
            8080: b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
            25: None,
            21: None,
            22: None,
            587: None,
            143: None,
            6379: b"INFO\r\n",
            3306: None,
        }.get(port, self._rng.choice((b"\r\n", b"HELP\r\n", None)))
        if port in (443, 8443, 993):
            await writer.start_tls(unverified())
            greeting = b"HEAD / HTTP/1.0\r\n\r\n"
        if greeting:
            writer.write(greeting)
        await reader.read(self._rng.choice((128, 1024, 4096)))


async def _knock_all(ctx, pairs, bounds, pace, hands, knock, several_sources=False):
    pairs = iter(pairs)

    async def one():
        pair = next(pairs, None)
        if pair is None:
            return False
        if several_sources:
            ctx.pick_source()
        await knock.at(ctx, *pair)
        return None

    await attempts(ctx, bounds, pace, hands, one)


@hostile("scan-python", label="scan", tool="asyncio", technique="T1046")
async def scan_python(ctx, flows, seconds, *, where=None, per_s=None, six=None):
    """Our own connect scanner: any order, jitter, one to many connections at once, from one or all of our addresses."""
    rng = ctx.rng
    per_s = per_s or log_uniform(rng, max(0.2, 5 / seconds), 200)
    budget = max(1, min(flows, int(per_s * seconds)))
    targets, count = aim(ctx, budget, where)
    if six if six is not None else rng.random() < 0.15:
        both = [(h.address, h.address6) for h in ctx.site.hosts if h.address6]
        targets = [dict(both).get(t, t) for t in targets] if ctx.host.address6 else targets
    pairs = [(t, p) for t in targets for p in port_list(rng, count)]
    if rng.random() < 0.7:
        rng.shuffle(pairs)
    ctx.pick_source()
    hands = 1 if per_s < 1 else rng.choice((1, 4, 16, 50, 100))
    await _knock_all(ctx, pairs, Bounds(ctx, flows, seconds), Pace(rng, per_s), hands, _Knock(rng), rng.random() < 0.2)


@hostile("scan-slow-horizontal", label="scan", tool="asyncio", technique="T1046")
async def slow_horizontal(ctx, flows, seconds, *, per_min=None, port=None, where=None):
    """One port on many hosts, 1 to 6 of them a minute."""
    rng = ctx.rng
    per_min = per_min or rng.uniform(1, 6)
    targets = crowd(ctx, max(2, min(flows, round(per_min * seconds / 60))), where)
    port = port or rng.choice((21, 22, 23, 80, 443, 445, 502, 1433, 1883, 3306, 3389, 4840, 5432, 5900, 6379, 8080))
    ctx.pick_source()
    await _knock_all(
        ctx, [(t, port) for t in targets], Bounds(ctx, flows, seconds), Pace(rng, per_min / 60), 1, _Knock(rng)
    )


@hostile("scan-slow-vertical", label="scan", tool="asyncio", technique="T1046")
async def slow_vertical(ctx, flows, seconds, *, gap_s=None, where=None):
    """Many ports of one host, a probe every 2 to 15 seconds."""
    rng = ctx.rng
    gap_s = gap_s or log_uniform(rng, 2, 15)
    target = crowd(ctx, 1, where)[0]
    ports = port_list(rng, max(2, min(flows, round(seconds / gap_s), 1000)))
    rng.shuffle(ports)
    ctx.pick_source()
    await _knock_all(
        ctx, [(target, p) for p in ports], Bounds(ctx, flows, seconds), Pace(rng, 1 / gap_s), 1, _Knock(rng)
    )


@hostile("scan-service", label="scan", tool="asyncio", technique="T1046")
async def scan_service(ctx, flows, seconds, *, where=None, per_s=None):
    """Reads banners of services: a greeting, a first request or a TLS handshake on each well-known port."""
    rng = ctx.rng
    per_s = per_s or log_uniform(rng, max(0.1, 5 / seconds), 20)
    budget = max(1, min(flows, int(per_s * seconds)))
    targets = crowd(ctx, max(1, min(budget, rng.randint(1, 20))), where)
    ports = rng.sample(
        (21, 22, 25, 80, 143, 443, 445, 502, 587, 993, 1883, 3306, 5432, 6379, 8080, 8443), rng.randint(3, 12)
    )
    pairs = [(t, p) for t in targets for p in ports][:budget]
    ctx.pick_source()
    await _knock_all(
        ctx, pairs, Bounds(ctx, flows, seconds), Pace(rng, per_s), rng.choice((1, 2, 8)), _Knock(rng, banner=True)
    )


UDP_PROBES = {
    53: bytes.fromhex("12340100000100000000000007766572736f6e0462696e640000100003"),
    123: b"\xe3\x00\x04\xfa\x00\x01\x00\x00\x00\x01" + bytes(38),
    161: bytes.fromhex("302602010104067075626c6963a019020413371337020100020100300b300906052b060102010500"),
    1900: b'M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nMAN: "ssdp:discover"\r\nMX: 1\r\nST: ssdp:all\r\n\r\n',
    5060: b"OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP b;branch=z9hG4bK1\r\nFrom: <sip:a@b>\r\nTo: <sip:a@b>\r\n"
    b"Call-ID: 1\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n",
    5683: bytes.fromhex("4001a1b2bb2e77656c6c2d6b6e6f776e04636f7265"),
    11211: b"\x00\x01\x00\x00\x00\x01\x00\x00stats\r\n",
}


@hostile("scan-udp-python", label="scan", tool="asyncio", technique="T1046")
async def scan_udp(ctx, flows, seconds, *, where=None, per_s=None):
    """One UDP request a host and port, with a payload that the service would answer."""
    rng = ctx.rng
    per_s = per_s or log_uniform(rng, max(0.1, 5 / seconds), 100)
    budget = max(1, min(flows, int(per_s * seconds)))
    targets = crowd(ctx, max(1, min(budget, round(log_uniform(rng, 2, 250)))), where)
    ports = rng.sample(sorted(UDP_PROBES), rng.randint(1, max(1, min(len(UDP_PROBES), budget // len(targets)))))
    pairs = [(t, p) for t in targets for p in ports]
    rng.shuffle(pairs)
    wait_s = log_uniform(rng, 0.2, 3)
    ctx.pick_source()
    start_us, bounds, pace = ctx.now_us(), Bounds(ctx, flows, seconds), Pace(rng, per_s)

    async def ask(address, port):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.setblocking(False)
            try:
                client.connect((address, port))
                client.send(UDP_PROBES[port])
                await asyncio.wait_for(asyncio.get_running_loop().sock_recv(client, 4096), wait_s)
            except (OSError, TimeoutError):
                pass

    pending = []
    for pair in pairs:
        if not bounds.take():
            break
        pending = [t for t in pending if not t.done()]
        if len(pending) >= 100:
            await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        pending.append(ctx.spawn(ask(*pair)))
        await ctx.sleep(pace.pause_s())
    await asyncio.gather(*pending)
    # Closed ports answer by ICMP, which no socket of ours has a row for.
    ctx.window([(t, "", "icmp") for t in targets], start_us, source=ctx.source4)
