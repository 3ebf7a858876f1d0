"""A SIP registrar that takes every call, and plays and hears RTP.

Owns: one UDP port for SIP, one for each call's media. In: REGISTER, OPTIONS, INVITE, ACK, BYE. Out: answers; 20 ms of
voice at a time, with silence now and then.
"""

import argparse
import asyncio
import random
import re

CALL_MAX_S = 180
CALLS_MAX = 60


class Media(asyncio.DatagramProtocol):
    """One call's voice: starts when the caller's first packet shows where he is."""

    def __init__(self, rng, payload):
        self.rng, self.payload, self.task = rng, payload, None
        self.silence = rng.choice((0.0, 0.3, 0.5))

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, _data, address):
        if self.task is None:
            self.task = asyncio.ensure_future(self._speak(address))

    async def _speak(self, address):
        loop = asyncio.get_running_loop()
        start, number, kind = loop.time(), self.rng.getrandbits(16), {160: 0, 20: 18, 33: 3}.get(self.payload, 0)
        source = self.rng.randbytes(4)
        for step in range(CALL_MAX_S * 50):
            # Talkers pause for a second or two.
            if step % 75 or self.rng.random() >= self.silence:
                self.transport.sendto(
                    bytes((0x80, kind))
                    + ((number + step) % 65536).to_bytes(2)
                    + (step * 160 % 2**32).to_bytes(4)
                    + source
                    + bytes(self.payload),
                    address,
                )
                await asyncio.sleep(max(start + 0.02 * step - loop.time(), 0))
            else:
                pause_s = self.rng.uniform(0.5, 3)
                start += pause_s
                await asyncio.sleep(pause_s)

    def close(self):
        """Hangs up."""
        if self.task:
            self.task.cancel()
        self.transport.close()


class Registrar(asyncio.DatagramProtocol):
    """SIP over UDP."""

    def __init__(self, address, rng):
        self.address, self.rng, self.calls = address, rng, {}
        self.ring_s = rng.uniform(0.2, 5)
        self.challenge = rng.random() < 0.7

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, peer):
        asyncio.ensure_future(self._answer(data.decode("latin-1"), peer))

    async def _answer(self, text, peer):
        method = text.split(" ", 1)[0]
        fields = {
            key: "\r\n".join(re.findall(rf"(?im)^{key}:.*$", text)).replace("\r\r", "\r").strip()
            for key in ("Via", "From", "To", "Call-ID", "CSeq")
        }
        call = fields["Call-ID"]

        def say(status, body=""):
            kept = "\r\n".join(value for value in fields.values() if value)
            kind = "Content-Type: application/sdp\r\n" if body else ""
            self.transport.sendto(f"SIP/2.0 {status}\r\n{kept}\r\n{kind}Content-Length: {len(body)}\r\n\r\n{body}".encode(), peer)

        if method == "REGISTER":
            wanted = self.challenge and "Authorization:" not in text
            say('401 Unauthorized\r\nWWW-Authenticate: Digest realm="pbx", nonce="5f3a"' if wanted else "200 OK\r\nExpires: 60")
        elif method == "INVITE" and call not in self.calls and len(self.calls) < CALLS_MAX:
            say("100 Trying")
            self.calls[call] = None
            await asyncio.sleep(0.1)
            say("180 Ringing")
            await asyncio.sleep(self.rng.uniform(0.3, 1) * self.ring_s)
            port = await self._media(call, int(next(iter(re.findall(r"a=x-payload:(\d+)", text)), "160")))
            say(
                "200 OK",
                f"v=0\r\no=pbx 1 1 IN IP4 {self.address}\r\ns=call\r\nc=IN IP4 {self.address}\r\nt=0 0\r\nm=audio {port} RTP/AVP 0 8 18\r\n",
            )
        elif method == "BYE":
            self._end(call)
            say("200 OK")
        elif method == "OPTIONS":
            say("200 OK")

    async def _media(self, call, payload):
        loop = asyncio.get_running_loop()
        for _ in range(20):
            port = 16000 + 2 * self.rng.randrange(500)
            try:
                _, media = await loop.create_datagram_endpoint(lambda: Media(self.rng, payload), local_addr=(self.address, port))
            except OSError:
                continue
            self.calls[call] = media
            loop.call_later(CALL_MAX_S + 5, self._end, call)
            return port
        return 0

    def _end(self, call):
        media = self.calls.pop(call, None)
        if media:
            media.close()


async def main():
    """Serves until it is ended."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--address", required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--port", type=int, default=5060)
    arguments = parser.parse_args()
    await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: Registrar(arguments.address, random.Random(arguments.seed)), local_addr=(arguments.address, arguments.port)
    )
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
