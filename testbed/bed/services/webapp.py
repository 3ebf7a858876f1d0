"""The application behind nginx: slow and varied dynamic answers, uploads, DNS over HTTPS.

Owns: one Unix socket. Never a socket of its own on the wire, but for the UDP questions of /dns-query. In: HTTP/1.0
requests from nginx. Out: answers after a drawn delay.
"""

import argparse
import asyncio
import base64
import random
from urllib.parse import parse_qs, urlsplit

REQUEST_MAX = 64 << 20


class Application:
    """Answers by path: /app/collect (empty), /app/search (a page), /app/stream (drips), /app/slow, /upload, /dns-query."""

    def __init__(self, seed, dns):
        self.rng, self.dns = random.Random(seed), dns
        self.delay_s = self.rng.choice((0.004, 0.02, 0.06, 0.2))

    async def serve(self, reader, writer):
        """One request, one answer."""
        try:
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 60)
            method, target, _ = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ", 2)
            length = next(
                (int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
            )
            await self._answer(writer, method, urlsplit(target), await _body(reader, length))
        except (OSError, ValueError, asyncio.IncompleteReadError, TimeoutError):
            pass
        finally:
            writer.close()

    async def _answer(self, writer, method, url, body):
        await asyncio.sleep(min(self.rng.lognormvariate(0, 1) * self.delay_s, 8))
        if url.path == "/upload":
            _write(writer, "201 Created", b'{"stored":%d}' % len(body))
        elif url.path == "/dns-query" and self.dns:
            text = parse_qs(url.query).get("dns", [""])[0]
            question = body or base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
            _write(writer, "200 OK", await ask(self.dns, question), "application/dns-message")
        elif url.path == "/app/collect":
            _write(writer, "204 No Content", b"")
        elif url.path == "/app/stream":
            await self._drip(writer)
        else:
            if url.path == "/app/slow":
                await asyncio.sleep(self.rng.uniform(1, 12))
            _write(writer, "200 OK", b"x" * min(int(self.rng.lognormvariate(8, 1.6)), 2_000_000), "text/html")
        await writer.drain()

    async def _drip(self, writer):
        writer.write(b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\n")
        for _ in range(self.rng.randint(5, 60)):
            writer.write(b"." * self.rng.randint(20, 4000))
            await writer.drain()
            await asyncio.sleep(self.rng.expovariate(2))


async def ask(server, question):
    """One question over UDP; an empty answer if there is none within two seconds."""
    loop = asyncio.get_running_loop()
    answer = loop.create_future()

    class Client(asyncio.DatagramProtocol):
        def datagram_received(self, data, _address):
            if not answer.done():
                answer.set_result(data)

    transport, _ = await loop.create_datagram_endpoint(Client, remote_addr=(server, 53))
    try:
        transport.sendto(question)
        return await asyncio.wait_for(answer, 2)
    except TimeoutError:
        return b""
    finally:
        transport.close()


async def _body(reader, length):
    """Reads a body and keeps at most its first 64 KiB."""
    kept, left = b"", min(length, REQUEST_MAX)
    while left > 0 and (chunk := await reader.read(min(left, 65536))):
        left -= len(chunk)
        kept = kept or chunk
    return kept


def _write(writer, status, body, kind="application/json"):
    writer.write(f"HTTP/1.0 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)


async def main():
    """Serves until it is ended."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--socket", required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--dns")
    arguments = parser.parse_args()
    server = await asyncio.start_unix_server(Application(arguments.seed, arguments.dns).serve, arguments.socket)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
