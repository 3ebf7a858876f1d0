"""Traffic inside a VPN: an echo server, and a user who asks it for pieces of drawn sizes with pauses.

Owns: one TCP port inside the tunnel. In: lines "SIZE". Out: that many bytes.
"""

import asyncio
import random
import sys

PIECE_MAX = 4 << 20


async def serve(port):
    """Answers each line `N` with N bytes."""

    async def one(reader, writer):
        try:
            while line := await reader.readline():
                writer.write(bytes(min(int(line), PIECE_MAX)))
                await writer.drain()
        except (OSError, ValueError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(one, "0.0.0.0", port)
    await server.serve_forever()


async def use(address, port, seed, seconds):
    """Connects (the tunnel may take a while to come up) and asks, until the time is up."""
    rng = random.Random(seed)
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    busy_s, size = rng.choice((0.3, 2, 10)), rng.uniform(5, 10)
    while loop.time() < end:
        if not _tunnel_up():
            # Without a tunnel the words would leave by the ordinary route.
            await asyncio.sleep(0.3)
            continue
        try:
            reader, writer = await asyncio.wait_for(asyncio.open_connection(address, port), 3)
        except (OSError, TimeoutError):
            await asyncio.sleep(0.5)
            continue
        for _ in range(rng.randint(1, 200)):
            wanted = min(int(rng.lognormvariate(size, 1.5)), 1_000_000)
            writer.write(f"{wanted}\n".encode())
            await reader.readexactly(wanted)
            await asyncio.sleep(rng.expovariate(1 / busy_s))
            if loop.time() >= end:
                break
        writer.close()


def _tunnel_up():
    with open("/proc/net/dev") as devices:
        return any(line.strip().startswith("tun") for line in devices)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        asyncio.run(serve(int(sys.argv[2])))
    else:
        asyncio.run(use(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5])))
