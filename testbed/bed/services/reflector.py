"""A host on the internet whose UDP services answer a small question with a lot, to whoever seems to have asked.

Owns: six such services, on the ports of the option `ports` (all by default). Never sends unasked, and never more than
`RATE_MAX` datagrams a second. In: datagrams. Out: answers of a size that differs from host to host.
"""

import asyncio
import random
import sys

from ..catalog import service

PORTS = (19, 53, 123, 389, 1900, 11211)
RATE_MAX = 1000


@service("reflector")
async def reflector(svc):
    """Starts the services and waits for their sign."""
    ports = svc.options.get("ports", PORTS)
    await svc.python("reflector", svc.rng.getrandbits(32), *ports)
    for _ in range(200):
        if (svc.directory / "ready").exists():
            return
        await asyncio.sleep(0.05)
    raise RuntimeError(f"{svc.host.name}: the reflector does not start")


class Answers(asyncio.DatagramProtocol):
    """One port: what it answers, and how much of it."""

    budget = RATE_MAX

    def __init__(self, port: int, rng: random.Random):
        self._port, self._rng = port, rng
        self._size, self._count = {
            19: (rng.randint(200, 1400), 1),
            53: (rng.randint(512, 4000), 1),
            123: (440, rng.randint(2, 20)),
            389: (rng.randint(1300, 3000), 1),
            1900: (rng.randint(240, 420), rng.randint(4, 14)),
            11211: (1400, rng.randint(5, 40)),
        }[port]

    def connection_made(self, transport):
        self._transport = transport

    def datagram_received(self, data, address):
        for number in range(self._count):
            if Answers.budget <= 0:
                return
            Answers.budget -= 1
            size = (
                max(64, round(self._size * self._rng.uniform(0.95, 1.0)))
                if self._port in (19, 53, 389, 1900)
                else self._size
            )
            self._transport.sendto(self._head(data, number) + self._rng.randbytes(size), address)

    def _head(self, data, number):
        return {
            53: data[:2] + b"\x84\x00" + data[4:6] + b"\x00\x08\x00\x00\x00\x01",
            123: bytes((0xD7, 0x80 | number, 3, 42)),
            1900: b"HTTP/1.1 200 OK\r\n",
            11211: data[:2] + number.to_bytes(2) + self._count.to_bytes(2) + b"\0\0",
            389: b"\x30\x84",
        }.get(self._port, b"")


async def serve(seed: int, ports: list[int]):
    """Serves until the run ends."""
    rng, loop = random.Random(seed), asyncio.get_running_loop()
    for port in ports:
        await loop.create_datagram_endpoint(lambda port=port: Answers(port, rng), local_addr=("0.0.0.0", port))
    with open("ready", "w"):
        pass
    while True:
        await asyncio.sleep(1)
        Answers.budget = RATE_MAX


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), [int(port) for port in sys.argv[2:]]))
