"""A small HTTP/1.1 server: keep-alive, chunked bodies, upgrades. For services whose answers matter and whose code should not.

Owns: one listener per call of `serve`. Never: files, programs, memory for more than `BODY_KEPT` of a body. In: a coroutine
that maps a `Request` to a `Reply`. Out: answers.
"""

import asyncio
import urllib.parse
from dataclasses import dataclass, field

BODY_KEPT = 256 * 1024
HEAD_MAX = 64 * 1024
REASONS = {101: "Switching Protocols", 200: "OK", 201: "Created", 204: "No Content", 206: "Partial Content", 301: "Moved Permanently",
           302: "Found", 400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed",
           413: "Payload Too Large", 429: "Too Many Requests", 500: "Internal Server Error", 503: "Service Unavailable"}


@dataclass
class Request:
    """What a client asked: `body` holds at most `BODY_KEPT` of `size` bytes."""

    method: str
    path: str
    query: dict
    headers: dict
    body: bytes
    size: int

    def form(self) -> dict:
        """The body as a form's fields."""
        return dict(urllib.parse.parse_qsl(self.body.decode("latin-1"), keep_blank_values=True))


@dataclass
class Reply:
    """What the server answers. `then` takes over the connection's reader and writer after the head."""

    status: int = 200
    body: bytes = b""
    headers: dict = field(default_factory=dict)
    delay_s: float = 0.0
    chunked: bool = False
    then: object = None


async def serve(port, handle, *, tls=None, idle_s=30.0, most=1000, server="httpd", host=None):
    """Listens; each connection is kept for `most` requests or until `idle_s` pass without one."""

    async def connection(reader, writer):
        try:
            for _ in range(most):
                request = await asyncio.wait_for(_read(reader, writer), idle_s)
                if request is None or not await _answer(writer, request, await handle(request), server, reader):
                    break
        except (TimeoutError, OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            writer.close()

    return await asyncio.start_server(connection, host, port, ssl=tls, limit=HEAD_MAX, backlog=512)


async def _read(reader, writer):
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    line, *lines = head.decode("latin-1").split("\r\n")
    method, target, _version = line.split(" ", 2)
    headers = {}
    for each in lines:
        key, _, value = each.partition(":")
        headers[key.strip().lower()] = value.strip()
    if "100-continue" in headers.get("expect", ""):
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    body, size = await _body(reader, headers)
    path, _, query = target.partition("?")
    return Request(method, urllib.parse.unquote(path, "latin-1"), dict(urllib.parse.parse_qsl(query, keep_blank_values=True)),
                   headers, body, size)


async def _body(reader, headers):
    kept, size = bytearray(), 0
    if "chunked" in headers.get("transfer-encoding", ""):
        while length := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
            kept, size = await _take(reader, length, kept, size)
            await reader.readexactly(2)
        await reader.readuntil(b"\r\n")
    elif length := int(headers.get("content-length") or 0):
        kept, size = await _take(reader, length, kept, size)
    return bytes(kept), size


async def _take(reader, length, kept, size):
    while length:
        piece = await reader.read(min(length, 65536))
        if not piece:
            raise asyncio.IncompleteReadError(b"", length)
        length -= len(piece)
        size += len(piece)
        if len(kept) < BODY_KEPT:
            kept += piece
    return kept, size


async def _answer(writer, request, reply, server, reader):
    if reply.delay_s:
        await asyncio.sleep(reply.delay_s)
    keep = request.headers.get("connection", "").lower() != "close" and reply.headers.get("Connection") != "close"
    head = [f"HTTP/1.1 {reply.status} {REASONS.get(reply.status, 'Unknown')}", f"Server: {server}"]
    head += [f"{key}: {value}" for key, value in reply.headers.items()]
    if reply.then:
        writer.write("\r\n".join(head).encode("latin-1") + b"\r\n\r\n")
        await reply.then(reader, writer)
        return False
    head.append("Transfer-Encoding: chunked" if reply.chunked else f"Content-Length: {len(reply.body)}")
    if not keep and "Connection" not in reply.headers:
        head.append("Connection: close")
    writer.write("\r\n".join(head).encode("latin-1", "replace") + b"\r\n\r\n")
    if request.method != "HEAD":
        _write_body(writer, reply)
    await writer.drain()
    return keep


def _write_body(writer, reply):
    if not reply.chunked:
        writer.write(reply.body)
        return
    for start in range(0, len(reply.body), 8192):
        piece = reply.body[start:start + 8192]
        writer.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
    writer.write(b"0\r\n\r\n")
