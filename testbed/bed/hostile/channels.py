"""What command channels, tunnels and thefts share on the client's side: connections, HTTP sessions, DNS questions, and
sockets inside a tunnel.

Owns: how a connection is opened and closed. Never chooses a target. In: a context and an address. Out: streams whose sockets
write their own truth.
"""

import asyncio
import contextlib
import json
import os
import socket
import ssl
import struct

import aiohttp
import dnslib

from ..draws import log_uniform
from ..services.command_control import FRAME, OPERATOR
from ..tls import unverified

AGENTS = ("Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
          "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:128.0) Gecko/20100101 Firefox/128.0",
          "Mozilla/4.0 (compatible; MSIE 7.0; Windows NT 6.1; Trident/4.0)", "Microsoft-CryptoAPI/10.0", "curl/7.88.1",
          "python-requests/2.31.0", "Go-http-client/1.1", "okhttp/4.12.0", "Wget/1.21.3", "WinHTTP/1.0",
          "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Safari/605.1.15")
GONE = (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, aiohttp.ClientError, ssl.SSLError)
_contexts = {}


def tls_client(rng) -> ssl.SSLContext:
    """One of some client TLS stacks: versions, ciphers and ALPN differ."""
    kind = rng.randrange(5)
    if kind not in _contexts:
        context = unverified()
        if kind == 1:
            context.maximum_version = ssl.TLSVersion.TLSv1_2
        elif kind == 2:
            context.set_ciphers("ECDHE+AESGCM:RSA+AES")
        elif kind == 3:
            context.set_alpn_protocols(["http/1.1"])
        elif kind == 4:
            context.set_ciphers("ALL")
            context.set_alpn_protocols(["h2", "http/1.1"][1:])
        _contexts[kind] = context
    return _contexts[kind]


@contextlib.asynccontextmanager
async def stream(address, port, *, tls=None, timeout_s=10.0, limit=1 << 16):
    """A TCP connection as reader and writer; it is closed on the way out, by FIN and quickly."""
    reader, writer = await asyncio.wait_for(asyncio.open_connection(address, port, ssl=tls, limit=limit), timeout_s)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(*GONE):
            await asyncio.wait_for(writer.wait_closed(), 2)


@contextlib.asynccontextmanager
async def web_client(ctx, *, keep=True, hands=1, timeout_s=30.0, agent=None):
    """An aiohttp session that presents one user agent; `keep`: connections are reused."""
    connector = aiohttp.TCPConnector(ssl=tls_client(ctx.rng), limit=hands, **({"keepalive_timeout": 300} if keep else {"force_close": True}))
    headers = {"User-Agent": agent or ctx.rng.choice(AGENTS)}
    if ctx.rng.random() < 0.5:
        headers["Accept-Language"] = "en-US,en;q=0.9"
    client = aiohttp.ClientSession(connector=connector, headers=headers, timeout=aiohttp.ClientTimeout(timeout_s),
                                   cookie_jar=aiohttp.CookieJar(unsafe=True))
    try:
        yield client
    finally:
        await client.close()


async def fetch(client, method, url, **options) -> tuple[int, int]:
    """One request; gives its status (0 if there was no answer) and the size of what came back."""
    try:
        async with client.request(method, url, allow_redirects=False, **options) as reply:
            return reply.status, len(await reply.read())
    except (*GONE, ValueError):
        return 0, 0


async def frame(reader, writer, up: int, down: int, rng, *, rate_bytes_s=None, ctx=None, timeout_s=60.0):
    """Sends `up` bytes and receives `down`, at most at a rate."""
    writer.write(FRAME.pack(up, down))
    piece = 16384 if not rate_bytes_s else max(200, min(16384, int(rate_bytes_s / 4)))
    for start in range(0, up, piece):
        size = min(piece, up - start)
        writer.write(rng.randbytes(size))
        await asyncio.wait_for(writer.drain(), timeout_s)
        if rate_bytes_s:
            await ctx.sleep(size / rate_bytes_s)
    if down:
        await asyncio.wait_for(reader.readexactly(down), timeout_s)


def operate(server, service: str, address: str, port: int, count: int):
    """Makes a server of ours speak first, on the connection that it knows by our address and port."""
    folder = os.open(server.machine.directory / service, os.O_RDONLY | os.O_DIRECTORY)
    local = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        # Through the folder's descriptor: socket paths hold 107 bytes only.
        local.sendto(json.dumps([address, port, count]).encode(), f"/proc/self/fd/{folder}/{OPERATOR}")
    finally:
        local.close()
        os.close(folder)


class Questions(asyncio.DatagramProtocol):
    """A UDP socket that asks a name server one question after another."""

    def __init__(self):
        self._answers = asyncio.Queue(64)

    @classmethod
    @contextlib.asynccontextmanager
    async def to(cls, address, port=53):
        """Opens the socket."""
        transport, self = await asyncio.get_running_loop().create_datagram_endpoint(cls, remote_addr=(address, port))
        try:
            yield self
        finally:
            transport.close()

    def connection_made(self, transport):
        self._transport = transport

    def datagram_received(self, data, _peer):
        if not self._answers.full():
            self._answers.put_nowait(data)

    def error_received(self, _error):
        pass

    async def ask(self, name, kind, *, edns=False, timeout_s=2.0) -> int:
        """Asks, waits; gives the answer's size, 0 if none came."""
        question = dnslib.DNSRecord.question(name, kind)
        if edns:
            question.add_ar(dnslib.EDNS0(udp_len=4096))
        while not self._answers.empty():
            self._answers.get_nowait()
        self._transport.sendto(question.pack())
        if not timeout_s:
            return 0
        try:
            return len(await asyncio.wait_for(self._answers.get(), timeout_s))
        except TimeoutError:
            return 0


async def ask_once(address, name, kind, **options) -> int:
    """One question from a socket of its own."""
    async with Questions.to(address) as questions:
        return await questions.ask(name, kind, **options)


async def inside(ctx, host, address, port, *, timeout_s=15.0):
    """A connection within a tunnel or on the loopback of `host`: no packet of it is on the wire, so it has no truth."""
    from ..sockets import ACTOR, HostSocket
    owner = ctx if host is ctx.host else _on(ctx, host)
    token = ACTOR.set(owner)
    try:
        carried = HostSocket(socket.AF_INET, socket.SOCK_STREAM)
    finally:
        ACTOR.reset(token)
    carried.untold()
    carried.setblocking(False)
    try:
        await asyncio.wait_for(asyncio.get_running_loop().sock_connect(carried, (address, port)), timeout_s)
        return await asyncio.open_connection(sock=carried)
    except BaseException:
        carried.close()
        raise


def _on(ctx, host):
    other = ctx.as_()
    other.host, other.source4, other.source6 = host, None, None
    return other


def hang_up(writer):
    """Ends a connection by RST."""
    held = writer.get_extra_info("socket")
    if held is not None:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def some_bytes(rng, low, high) -> bytes:
    """Between `low` and `high` bytes, small amounts as often as big ones."""
    return rng.randbytes(round(log_uniform(rng, max(low, 1), max(high, 1))))
