"""A chat over WebSocket: every message goes to everyone in the room, and the server has things to say itself.

Owns: one TCP port. In: text messages. Out: the same to the others, notices at random instants, pings.
"""

import argparse
import asyncio
import random
import ssl

ROOM_MAX = 200


async def main():
    """Serves until it is ended."""
    from websockets.asyncio.server import broadcast, serve

    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--ping", type=float, default=20)
    parser.add_argument("--certificate")
    parser.add_argument("--key")
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    room = set()
    context = None
    if arguments.certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(arguments.certificate, arguments.key)

    async def member(socket):
        if len(room) >= ROOM_MAX:
            return
        room.add(socket)
        try:
            async for message in socket:
                broadcast(room - {socket} if rng.random() < 0.5 else room, message)
        finally:
            room.discard(socket)

    async def notices():
        mean_s = rng.choice((3, 15, 60))
        while True:
            await asyncio.sleep(rng.expovariate(1 / mean_s))
            if room:
                broadcast(set(rng.sample(sorted(room, key=id), rng.randint(1, len(room)))), "n" * int(rng.lognormvariate(5, 1)))

    async with serve(member, ("0.0.0.0", "::"), arguments.port, ssl=context, ping_interval=arguments.ping or None):
        await notices()


if __name__ == "__main__":
    asyncio.run(main())
