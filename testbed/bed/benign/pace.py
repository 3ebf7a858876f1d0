"""Pace and plumbing of machine-like behaviours: periods, sessions, targets, small clients.

Owns no behaviour. Never sleeps but in packet time. In: a context and a rate. Out: instants, lifetimes, connections whose
sockets are always closed.
"""

import asyncio
import contextlib
import socket
import struct

from ..draws import log_uniform

# What a network may do to a client: it ends that session, not the behaviour.
NETWORK_ERRORS = (OSError, TimeoutError, EOFError)


def periods(rng, per_min, low_s, high_s, most=48):
    """Periods whose rates sum to about `per_min`: the machines that share a behaviour."""
    found, left = [], per_min
    while left > 60 / high_s and len(found) < most:
        period = log_uniform(rng, max(low_s, 60 / left), high_s)
        found.append(period)
        left -= 60 / period
    return found or ([60 / per_min] if per_min > 0 else [])


def shares(rng, per_min, least=8.0, most=4):
    """Parts of a rate: the programs on one host, each with settings of its own."""
    count = rng.randint(1, max(1, min(most, int(per_min / least))))
    weights = [rng.uniform(0.3, 1) for _ in range(count)]
    return [per_min * weight / sum(weights) for weight in weights]


async def every(ctx, period_s, jitter=None):
    """Yields once a period until the run ends: on a grid or after the last one, with even, normal or no jitter."""
    rng = ctx.rng
    if jitter is None:
        jitter = rng.choice([0, 0, 0.01, 0.05, 0.1, 0.3])
    style = rng.choice(["even", "normal", "grid"])
    due = ctx.now_us() / 1e6 + period_s * rng.random()
    while ctx.left_s > 1:
        wait = due - ctx.now_us() / 1e6
        if style == "even":
            wait += period_s * jitter * rng.uniform(-1, 1)
        elif style == "normal":
            wait += period_s * jitter * rng.gauss(0, 0.5)
        await ctx.sleep(min(max(wait, 0.02), max(ctx.left_s, 0.02)))
        if ctx.left_s <= 1:
            return
        yield
        # A grid keeps its phase; the others drift with what each turn took.
        due = max(due + period_s, ctx.now_us() / 1e6) if style == "grid" else ctx.now_us() / 1e6 + period_s


async def sessions(ctx, per_min, session, low_s=20, high_s=400):
    """Starts `session(lifetime_s)` beside the behaviour at random instants; rare ones begin early and live long."""
    if per_min * ctx.left_s / 60 < 1.5:
        high_s = max(high_s, ctx.left_s)
        low_s = max(low_s, high_s / 4)
    if ctx.rng.random() < min(1, per_min * ctx.left_s / 60):
        await ctx.sleep(ctx.rng.uniform(0, min(20, 30 / per_min)))
        ctx.spawn(session(log_uniform(ctx.rng, low_s, high_s)))
    async for _ in ctx.poisson(max(per_min - 60 / max(ctx.left_s, 1), 0)):
        ctx.spawn(session(min(log_uniform(ctx.rng, low_s, high_s), ctx.left_s)))


def need(ctx, service, zone=None):
    """The peers of a host that offer a service; refuses a scenario without any."""
    found = ctx.peers(service, zone)
    if not found:
        raise LookupError(f"{ctx.what.name} needs a host with {service!r}" + (f" in zone {zone}" if zone else ""))
    return found


def address_of(ctx, host, six=0.25):
    """One of a host's addresses; IPv6 in a share of the cases in which both ends have it."""
    if host.address6 and ctx.host.address6 and ctx.rng.random() < six:
        return host.address6
    return ctx.rng.choice(host.addresses4)


@contextlib.asynccontextmanager
async def connected(address, port, *, timeout_s=10, tls=None, reset=False):
    """A TCP connection, closed at the end: with FIN, or with RST if `reset`."""
    reader, writer = await asyncio.wait_for(asyncio.open_connection(address, port, ssl=tls), timeout_s)
    try:
        yield reader, writer
    finally:
        if reset:
            raw = writer.get_extra_info("socket")
            with contextlib.suppress(OSError):
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.close()
        with contextlib.suppress(*NETWORK_ERRORS):
            await asyncio.wait_for(writer.wait_closed(), 5)


class Datagrams(asyncio.DatagramProtocol):
    """A UDP socket towards one peer."""

    def __init__(self):
        self.received = asyncio.Queue(64)

    def connection_made(self, transport):
        self._transport = transport

    def datagram_received(self, data, _address):
        if not self.received.full():
            self.received.put_nowait(data)

    def error_received(self, _error):
        """An unreachable peer is a peer that does not answer."""

    def send(self, data):
        """Sends one datagram."""
        self._transport.sendto(data)

    async def ask(self, data, timeout_s):
        """Sends, and gives the next datagram or None."""
        self.send(data)
        try:
            return await asyncio.wait_for(self.received.get(), timeout_s)
        except TimeoutError:
            return None


@contextlib.asynccontextmanager
async def datagrams(address, port):
    """A UDP socket connected to a peer, closed at the end."""
    transport, protocol = await asyncio.get_running_loop().create_datagram_endpoint(Datagrams, remote_addr=(address, port))
    try:
        yield protocol
    finally:
        transport.close()


async def http(reader, writer, method, path, host, *, body=b"", headers="", close=False, timeout_s=60):
    """One HTTP/1.1 exchange on an open connection: status and length of the answer."""
    more = f"Content-Length: {len(body)}\r\n" if body or method in ("POST", "PUT") else ""
    kept = "close" if close else "keep-alive"
    name = f"[{host}]" if ":" in host else host
    writer.write(f"{method} {path} HTTP/1.1\r\nHost: {name}\r\nConnection: {kept}\r\n{headers}{more}\r\n".encode() + body)
    await writer.drain()
    async with asyncio.timeout(timeout_s):
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        return int(head.split(" ", 2)[1]), await _http_body(reader, head.lower(), method)


async def _http_body(reader, head, method):
    status = head.split(" ", 2)[1]
    if method == "HEAD" or status in ("204", "304"):
        return 0
    if "transfer-encoding: chunked" in head:
        total = 0
        while size := int((await reader.readline()).split(b";")[0], 16):
            await _discard(reader, size + 2)
            total += size
        await reader.readline()
        return total
    for line in head.split("\r\n"):
        if line.startswith("content-length:"):
            size = int(line.split(":")[1])
            await _discard(reader, size)
            return size
    total = 0
    while data := await reader.read(65536):
        total += len(data)
    return total


async def _discard(reader, size):
    while size > 0:
        data = await reader.read(min(size, 65536))
        if not data:
            raise EOFError("the server closed in the middle of an answer")
        size -= len(data)


def tls_port(host):
    """The HTTPS port of an `nginx` host."""
    return int(host.offers("nginx").options.get("tls_port", 443))


def open_ports(host):
    """TCP ports that a host's services are known to listen on."""
    found = []
    for each in host.services:
        found += [int(each.options.get("port", port)) for port in SERVICE_PORTS.get(each.name, ())]
    return found


SERVICE_PORTS = {
    "nginx": (80,), "sshd": (22,), "ftp": (21,), "mail": (25,), "smb": (445,), "postgres": (5432,), "mysql": (3306,),
    "redis": (6379,), "modbus": (502,), "mqtt": (1883,), "api": (8000,), "agent": (9100,), "websocket": (8765,),
    "opcua": (4840,), "dnp3": (20000,), "rsyncd": (873,), "printer": (9100,), "camera": (554,),
}
