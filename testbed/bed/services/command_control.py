"""Far ends of command channels: HTTP, HTTPS, DNS, raw TCP and UDP, IRC-like chat, stratum.

Owns: listeners that answer with random bytes of random sizes. Never holds a command, never executes anything: only sizes and
times are those of the real thing. In: requests, and the site's `operator` datagrams on a local socket, which make a server
speak first at an instant of packet time that the behaviour chose. Out: answers.
"""

import asyncio
import base64
import hashlib
import json
import os
import random
import socket
import struct
import sys

from ..catalog import service
from .certificates import certificate, server_context
from .small_http import Reply, serve

OPERATOR = "operator"
FRAME = struct.Struct(">II")  # bytes that follow, bytes wanted back
FRAME_MAX = 4 << 20


@service("c2-http")
async def c2_http(svc):
    """HTTP on `port` (80); `task_share` of the polls bring work."""
    await _start(svc, "http", {"port": svc.port(80), "task_share": svc.options.get("task_share")})


@service("c2-https")
async def c2_https(svc):
    """HTTPS on `port` (443)."""
    await _start(svc, "http", {"port": svc.port(443), "task_share": svc.options.get("task_share")}, tls=True)


@service("c2-dns")
async def c2_dns(svc):
    """Authoritative look-alike on UDP `port` (53)."""
    await svc.python("command_control", "dns", await _settings(svc, {"port": svc.port(53)}))


@service("c2-tcp")
async def c2_tcp(svc):
    """Framed TCP and UDP on `port` (4444), the same in TLS on `tls_port` (4445), chat on `irc_port` (6667)."""
    await _start(svc, "tcp", {"port": svc.port(4444), "tls_port": int(svc.options.get("tls_port", 4445)),
                              "irc_port": int(svc.options.get("irc_port", 6667))}, tls=True)


@service("stratum")
async def stratum(svc):
    """A mining pool on `port` (3333), in TLS on `tls_port` (3334)."""
    await _start(svc, "stratum", {"port": svc.port(3333), "tls_port": int(svc.options.get("tls_port", 3334))}, tls=True)


async def _start(svc, mode, settings, tls=False):
    if tls:
        settings["key"], settings["chain"] = await certificate(svc)
    await svc.python("command_control", mode, await _settings(svc, settings))
    await svc.ready(settings["port"])


async def _settings(svc, settings):
    path = svc.directory / "settings.json"
    path.write_text(json.dumps(settings | {"seed": svc.rng.getrandbits(40)}))
    return path


class Operator:
    """Lets the site say when the server speaks: datagrams [address, port, bytes] on a local socket name a connection."""

    def __init__(self, speak):
        self._speak = speak
        self.writers = {}

    async def listen(self):
        """Binds `operator` in the working folder."""
        local = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        local.bind(OPERATOR)
        local.setblocking(False)
        asyncio.get_running_loop().add_reader(local, self._heard, local)

    def _heard(self, local):
        address, port, count = json.loads(local.recv(4096))
        writer = self.writers.get((address, port))
        if writer and not writer.is_closing():
            self._speak(writer, count)

    def handler(self, talk):
        """A connection handler that is known to the operator while it lasts."""
        async def connection(reader, writer):
            peer = writer.get_extra_info("peername")[:2]
            self.writers[peer] = writer
            try:
                await talk(reader, writer)
            except (OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                pass
            finally:
                del self.writers[peer]
                writer.close()
        return connection


async def serve_http(settings, rng):
    """Polls, results and a web socket."""
    share = settings["task_share"] if settings["task_share"] is not None else rng.choice((0.01, 0.05, 0.15))
    idle_status = rng.choice((200, 200, 200, 204, 404))
    idle_bytes = rng.choice((0, 2, 16, 64, 300, 1200))
    padding = rng.choice((0, 0, 32, 600))
    largest = rng.choice((2_000, 40_000, 400_000))

    async def answer(request):
        if request.headers.get("upgrade", "").lower() == "websocket":
            return Reply(101, b"", _upgrade(request), then=_websocket)
        size = 0 if idle_status == 204 else idle_bytes + rng.randint(0, padding)
        status = idle_status
        if request.method in ("GET", "HEAD") and rng.random() < share:
            status, size = 200, round(200 * (largest / 200) ** rng.random())
        body = rng.randbytes(size)
        if rng.random() < 0.5:
            body = base64.b64encode(body)
        return Reply(status, body, {"Content-Type": "application/octet-stream"}, rng.choice((0, 0, 0.02)))

    tls = server_context(settings, rng) if "key" in settings else None
    await serve(settings["port"], answer, tls=tls, idle_s=rng.choice((5, 30, 75, 300)), most=rng.choice((1, 10, 100, 10_000)),
                server=rng.choice(("nginx", "Apache/2.4.57 (Debian)", "Microsoft-IIS/10.0", "cloudfront")))


def _upgrade(request):
    key = request.headers.get("sec-websocket-key", "").encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
    accept = base64.b64encode(hashlib.sha1(key).digest()).decode()
    return {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Accept": accept}


async def _websocket(reader, writer):
    """Answers each message with as many bytes as its first four say."""
    while True:
        first, second = await reader.readexactly(2)
        length = second & 127
        if length == 126:
            length, = struct.unpack(">H", await reader.readexactly(2))
        elif length == 127:
            length, = struct.unpack(">Q", await reader.readexactly(8))
        if length > FRAME_MAX:
            return
        mask = await reader.readexactly(4)
        payload = await reader.readexactly(length)
        kind = first & 15
        if kind == 8:
            writer.write(b"\x88\x00")
            return
        if kind == 9:
            writer.write(_message(10, bytes(b ^ mask[i & 3] for i, b in enumerate(payload))))
        elif kind in (1, 2) and length >= 4:
            wanted = int.from_bytes(bytes(payload[i] ^ mask[i] for i in range(4)))
            writer.write(_message(2, os.urandom(min(wanted, FRAME_MAX))))
        await writer.drain()


def _message(kind, payload):
    size = len(payload)
    head = bytes([size]) if size < 126 else b"\x7e" + struct.pack(">H", size) if size < 65536 else b"\x7f" + struct.pack(">Q", size)
    return bytes([0x80 | kind]) + head + payload


async def serve_dns(settings, rng):
    """Answers every name. Its first three hex digits say how many bytes the answer carries; fff: the name does not exist."""
    import dnslib

    ttl = rng.choice((0, 1, 5, 60, 300))

    class Server(asyncio.DatagramProtocol):
        def connection_made(self, transport):
            self.transport = transport

        def datagram_received(self, data, peer):
            try:
                question = dnslib.DNSRecord.parse(data)
                self.transport.sendto(_dns_answer(dnslib, question, rng, ttl), peer)
            except (dnslib.DNSError, ValueError):
                pass

    await asyncio.get_running_loop().create_datagram_endpoint(Server, local_addr=("::", settings["port"]))


def _dns_answer(dnslib, question, rng, ttl):
    reply = question.reply()
    name, kind = question.q.qname, dnslib.QTYPE[question.q.qtype]
    try:
        wanted = int(str(name)[:3], 16)
    except ValueError:
        wanted = 4
    if wanted == 0xFFF:
        reply.header.rcode = dnslib.RCODE.NXDOMAIN
        return reply.pack()
    text = base64.b32encode(rng.randbytes(wanted)).decode().rstrip("=").lower()
    labels = ".".join(text[i:i + 50] for i in range(0, min(len(text), 180), 50)) or "a"
    match kind:
        case "TXT":
            record = dnslib.TXT([text[i:i + 250] for i in range(0, len(text), 250)] or [b""])
        case "CNAME" | "MX" | "NS":
            record = dnslib.MX(labels, rng.randrange(50)) if kind == "MX" else getattr(dnslib, kind)(labels)
        case "AAAA":
            record = dnslib.AAAA(list(rng.randbytes(16)))
        case "NULL":
            record = dnslib.RD(rng.randbytes(wanted))
        case _:
            record = dnslib.A(f"198.18.{rng.randrange(256)}.{rng.randrange(256)}")
    for _ in range(1 if kind not in ("A", "AAAA") else max(1, min(wanted // 4, 12))):
        reply.add_answer(dnslib.RR(name, question.q.qtype, ttl=ttl, rdata=record))
    return reply.pack()


async def serve_tcp(settings, rng):
    """Frames, frames in TLS, frames in datagrams, chat."""
    operator = Operator(lambda writer, count: writer.write(os.urandom(count)))
    await operator.listen()
    await asyncio.start_server(operator.handler(_frames), None, settings["port"])
    await asyncio.start_server(operator.handler(_frames), None, settings["tls_port"], ssl=server_context(settings, rng))
    await asyncio.start_server(operator.handler(_chat), None, settings["irc_port"])

    class Datagrams(asyncio.DatagramProtocol):
        def connection_made(self, transport):
            self.transport = transport

        def datagram_received(self, data, peer):
            if len(data) >= FRAME.size:
                _, wanted = FRAME.unpack_from(data)
                if wanted:
                    self.transport.sendto(os.urandom(min(wanted, 1400)), peer)

    await asyncio.get_running_loop().create_datagram_endpoint(Datagrams, local_addr=("::", settings["port"]))


async def _frames(reader, writer):
    """Each frame is answered with as many bytes as it wants."""
    while True:
        length, wanted = FRAME.unpack(await reader.readexactly(FRAME.size))
        while length:
            piece = await reader.read(min(length, 65536))
            if not piece:
                return
            length -= len(piece)
        for start in range(0, min(wanted, FRAME_MAX), 65536):
            writer.write(os.urandom(min(65536, wanted - start)))
            await writer.drain()


async def _chat(reader, writer):
    writer.write(b":irc.local NOTICE * :*** Looking up your hostname...\r\n")
    while line := await reader.readuntil(b"\n"):
        word = line.split(b" ", 1)[0].strip().upper()
        if word == b"PING":
            writer.write(b":irc.local PONG irc.local " + line[5:].strip() + b"\r\n")
        elif word == b"USER":
            writer.write(b"".join(b":irc.local %03d bot :%s\r\n" % (n, os.urandom(20 + n % 40).hex().encode()) for n in (1, 2, 3, 4, 5, 251, 375, 372, 372, 376)))
        elif word == b"JOIN":
            writer.write(b":bot JOIN #room\r\n:irc.local 353 bot = #room :" + os.urandom(60).hex().encode() + b"\r\n:irc.local 366 bot #room :End\r\n")
        elif word == b"QUIT":
            return


async def serve_stratum(settings, rng):
    """A pool: it answers calls, and sends new jobs when the operator says so."""
    branches = rng.randrange(2, 14)

    def job(writer, count):
        fields = [os.urandom(4).hex(), os.urandom(32).hex(), os.urandom(60).hex(), os.urandom(max(count, 20)).hex(),
                  [os.urandom(32).hex() for _ in range(branches)], "20000000", os.urandom(4).hex(), os.urandom(4).hex(), True]
        writer.write(json.dumps({"id": None, "method": "mining.notify", "params": fields}).encode() + b"\n")

    async def pool(reader, writer):
        while line := await reader.readuntil(b"\n"):
            call = json.loads(line)
            result = [[["mining.notify", "1"]], os.urandom(4).hex(), 4] if call.get("method") == "mining.subscribe" else True
            writer.write(json.dumps({"id": call.get("id"), "result": result, "error": None}).encode() + b"\n")
            if call.get("method") == "mining.authorize":
                job(writer, 60)

    operator = Operator(job)
    await operator.listen()
    await asyncio.start_server(operator.handler(pool), None, settings["port"])
    await asyncio.start_server(operator.handler(pool), None, settings["tls_port"], ssl=server_context(settings, rng))


async def main(mode, settings):
    """Serves until it is ended."""
    rng = random.Random(settings["seed"])
    await {"http": serve_http, "dns": serve_dns, "tcp": serve_tcp, "stratum": serve_stratum}[mode](settings, rng)
    await asyncio.Event().wait()


if __name__ == "__main__":
    with open(sys.argv[2]) as file:
        asyncio.run(main(sys.argv[1], json.load(file)))
