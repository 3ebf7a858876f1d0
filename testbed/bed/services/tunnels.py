"""Tunnel servers of the outside world: iodine's and ptunnel's, and what lies at their far ends.

Owns: the programs and the settings both ends share. Never: a route to anywhere but the far end on the same host. In: the
host's seed, which decides domain, password and addresses. Out: UDP 53, ICMP, and a frame server behind both.
"""

import asyncio
import ipaddress
import random
import sys
from dataclasses import dataclass

from ..catalog import service
from .command_control import FRAME, FRAME_MAX

FAR_PORT = 7700


@dataclass
class DnsTunnel:
    """What iodine's two ends agree on."""

    domain: str
    password: str
    inside: str  # the server's address in the tunnel
    prefix: int


def dns_tunnel(host, site) -> DnsTunnel:
    """The settings of a host's dns-tunnel service."""
    rng = random.Random(f"{host.seed}/dns-tunnel")
    for base in rng.sample(("172.30.0.0/16", "10.213.0.0/16", "192.168.96.0/19", "172.19.0.0/16"), 4):
        network = ipaddress.ip_network(base)
        if not network.overlaps(site.lan4):
            break
    inside = network[rng.randrange(2, 60) * 32 + 1]
    domain = f"{rng.choice('abtxz')}{rng.randrange(100)}.{host.domain}" if rng.random() < 0.6 else f"t.{rng.getrandbits(24):x}.example"
    return DnsTunnel(domain, f"{rng.getrandbits(48):x}", str(inside), 27)


def icmp_password(host) -> str:
    """The password of a host's icmp-tunnel service."""
    return f"{random.Random(f'{host.seed}/icmp-tunnel').getrandbits(40):x}"


@service("dns-tunnel")
async def dns_tunnel_server(svc):
    """iodined on UDP 53; behind it the far end."""
    shared = dns_tunnel(svc.host, svc.site)
    await svc.spawn(["iodined", "-f", "-c", "-P", shared.password, "-m", svc.rng.choice((1130, 1130, 1000, 600)),
                     f"{shared.inside}/{shared.prefix}", shared.domain])
    await svc.once(["sh", "-c", "for i in $(seq 100); do ip link show dev dns0 >/dev/null 2>&1 && exit 0; sleep 0.1; done; exit 1"])
    await _far_end(svc)


@service("icmp-tunnel")
async def icmp_tunnel_server(svc):
    """ptunnel as a proxy; behind it the far end."""
    await svc.spawn(["ptunnel", "-x", icmp_password(svc.host), "-v", "0"])
    await _far_end(svc)


async def _far_end(svc):
    await svc.python("tunnels", FAR_PORT)
    await svc.ready(FAR_PORT)


async def serve_frames(reader, writer):
    """As in command_control: each frame is answered with as many bytes as it wants."""
    try:
        while True:
            length, wanted = FRAME.unpack(await reader.readexactly(FRAME.size))
            await reader.readexactly(min(length, FRAME_MAX))
            writer.write(random.randbytes(min(wanted, FRAME_MAX)))
            await writer.drain()
    except (OSError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()


async def main(port):
    """Serves until it is ended; a second one on the host finds the port taken and leaves it to the first."""
    try:
        await asyncio.start_server(serve_frames, None, port)
    except OSError:
        return
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
