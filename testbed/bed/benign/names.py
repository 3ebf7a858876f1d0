"""Names and neighbours: DNS of all kinds, DNS over HTTPS, and the chatter of a LAN that looks for itself.

Owns: those behaviours. In: the site's resolver and doh servers. Out: UDP 53, HTTPS, multicast and broadcast datagrams.
"""

import asyncio
import base64
import contextlib
import socket
import struct

import dnslib
import httpx

from ..catalog import benign
from ..draws import log_uniform
from .browsers import client_tls
from .people import find, jobs, sessions

_LABELS = (
    "www",
    "mail",
    "api",
    "static",
    "img",
    "cdn",
    "update",
    "time",
    "login",
    "ads",
    "track",
    "assets",
    "wpad",
    "isatap",
    "intranet",
)
_TOPS = ("com", "net", "org", "io", "test", "local", "lan", "example")


def question(ctx):
    """A name and a record type that somebody might ask for; about a third of them do not exist."""
    rng, site = ctx.rng, ctx.site
    draw = rng.random()
    if draw < 0.35:
        host = rng.choice([h for h in site.hosts if h.zone == "wan"] or site.hosts)
        return host.fqdn, rng.choice(("A", "A", "AAAA", "TXT", "MX"))
    if draw < 0.5:
        return f"{rng.choice('abcdefgh')}{rng.randrange(9)}.cdn.example", rng.choice(("A", "AAAA", "A", "HTTPS"))
    if draw < 0.65:
        return rng.choice(site.hosts).fqdn, rng.choice(("A", "AAAA"))
    if draw < 0.72:
        return str(dnslib.DNSLabel(".".join(reversed(rng.choice(site.hosts).address.split("."))) + ".in-addr.arpa")).rstrip(
            "."
        ), "PTR"
    if draw < 0.78:
        return f"_{rng.choice(('ldap', 'imap', 'sip', 'kerberos'))}._{rng.choice(('tcp', 'udp'))}.{site.domain}", "SRV"
    if draw < 0.88:
        # A search domain tried behind a name that is not there.
        return f"{rng.choice(_LABELS)}.{rng.choice((site.domain, rng.choice(site.hosts).domain))}", rng.choice(("A", "AAAA"))
    return (
        f"{rng.choice(_LABELS)}{rng.randrange(1000)}.{rng.choice('abcxyz')}{rng.randrange(100)}.{rng.choice(_TOPS)}",
        rng.choice(("A", "AAAA", "MX", "TXT")),
    )


@benign("dns-names", tool="dnslib")
async def dns_names(ctx, per_min):
    """Lookups in bursts: A and AAAA pairs, MX, PTR, TXT, SRV, misses. One flow a lookup; now and then one socket for many."""

    async def burst(one):
        for _ in range(min(1 + int(one.rng.expovariate(0.4)), 30)):
            name, kind = question(one)
            if kind == "A" and one.rng.random() < 0.5:
                await asyncio.gather(one.resolve(name, "A"), one.resolve(name, "AAAA"))
            elif not await one.resolve(name, kind) and one.rng.random() < 0.2:
                await one.resolve(f"{name}.{one.site.domain}", kind)
            await one.sleep(one.rng.choice((0, 0, 0.01, 0.3, 2)) * one.rng.random())

    async def stub(one):
        """A stub resolver that keeps one port for a while."""
        if one.bed.resolver is None:
            return
        async with _asking(one.bed.resolver) as ask:
            for _ in range(one.rng.randint(2, 40)):
                name, kind = question(one)
                await ask(dnslib.DNSRecord.question(name, kind).pack())
                await one.sleep(one.rng.expovariate(1))

    keeps = ctx.rng.random() < 0.25
    await sessions(ctx, per_min, 1 if keeps else 4, stub if keeps else burst, most=6)


@contextlib.asynccontextmanager
async def _asking(server):
    answers = asyncio.Queue()

    class Client(asyncio.DatagramProtocol):
        def datagram_received(self, data, _address):
            answers.put_nowait(data)

    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(Client, remote_addr=(server, 53))

    async def ask(data):
        transport.sendto(data)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(answers.get(), 2)

    try:
        yield ask
    finally:
        transport.close()


@benign("doh", tool="httpx")
async def doh(ctx, per_min):
    """Many questions over one long HTTP/2 connection. About 2 flows a session of up to ten minutes."""

    async def session(one):
        servers = one.peers("doh")
        if not servers:
            return
        server = one.rng.choice(servers)
        found = await find(one, server)
        url = f"https://{f'[{found}]' if ':' in found else found}:{server.port('doh', 443)}/dns-query"
        headers = {"accept": "application/dns-message", "content-type": "application/dns-message", "host": server.fqdn}
        pause_s, get = log_uniform(one.rng, 0.2, 15), one.rng.random() < 0.5
        async with httpx.AsyncClient(
            http2=True,
            verify=client_tls(one),
            timeout=15,
            headers=headers,
            limits=httpx.Limits(keepalive_expiry=one.rng.choice((20, 60, 300))),
        ) as web:
            for _ in range(one.rng.randint(3, 80)):
                name, kind = question(one)
                data = dnslib.DNSRecord.question(name, kind).pack()
                try:
                    if get:
                        await web.get(url, params={"dns": base64.urlsafe_b64encode(data).rstrip(b"=").decode()})
                    else:
                        await web.post(url, content=bytes(data))
                except httpx.HTTPError:
                    return
                await one.sleep(min(one.rng.expovariate(1 / pause_s), 60))

    await sessions(ctx, per_min, 2.5, session, most=3)


@benign("lan-discovery", tool="asyncio")
async def discovery(ctx, per_min):
    """mDNS, SSDP, LLMNR, NetBIOS names and DHCP requests to groups and to everyone. One flow each (nobody answers)."""
    kinds = ctx.rng.sample(_announcements(ctx), k=ctx.rng.randint(2, 6))

    async def announce(one):
        group, port, source_port, text, times = one.rng.choice(kinds)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as speaker:
            speaker.setblocking(False)
            speaker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            speaker.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            speaker.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 1)
            speaker.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(one.host.address))
            if source_port:
                with contextlib.suppress(OSError):
                    speaker.bind((one.host.address, source_port))
            for _ in range(one.rng.randint(*times)):
                speaker.sendto(text(one.rng), (group, port))
                await one.sleep(one.rng.choice((0.25, 0.75, 1, 3)))

    await (jobs if ctx.rng.random() < 0.5 else sessions)(ctx, per_min, 1, announce)


def _announcements(ctx):
    """Group, port, own port (0: any), text, how often at least and at most."""
    broadcast, name, mac = (
        str(ctx.site.lan4.broadcast_address),
        ctx.host.name.encode(),
        bytes.fromhex(ctx.host.mac.replace(":", "")),
    )

    def mdns(rng):
        return dnslib.DNSRecord.question(
            rng.choice(("_ipp._tcp.local", "_airplay._tcp.local", "_googlecast._tcp.local")), "PTR"
        ).pack()

    def ssdp(rng):
        target = rng.choice((b"ssdp:all", b"upnp:rootdevice", b"urn:dial-multiscreen-org:service:dial:1"))
        return (
            b'M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nMAN: "ssdp:discover"\r\nMX: 2\r\nST: ' + target + b"\r\n\r\n"
        )

    def llmnr(rng):
        return dnslib.DNSRecord.question(rng.choice(("wpad", "printer", "fileserver")), rng.choice(("A", "AAAA"))).pack()

    def netbios_name(rng):
        return struct.pack(">HHHHHH", rng.getrandbits(16), 0x110, 1, 0, 0, 0) + b"\x20CK" + b"A" * 30 + b"\0\0\x20\0\x01"

    def netbios_datagram(rng):
        return b"\x11\x0e" + rng.randbytes(2) + name.ljust(190, b"\0")

    def dhcp(rng):
        return b"\x01\x01\x06\x00" + rng.randbytes(4) + bytes(20) + mac + bytes(202) + b"c\x82Sc\x35\x01\x03\xff" + bytes(60)

    return (
        ("224.0.0.251", 5353, 5353, mdns, (1, 3)),
        ("239.255.255.250", 1900, 0, ssdp, (1, 4)),
        ("224.0.0.252", 5355, 0, llmnr, (1, 2)),
        (broadcast, 137, 137, netbios_name, (1, 3)),
        (broadcast, 138, 138, netbios_datagram, (1, 1)),
        ("255.255.255.255", 67, 68, dhcp, (1, 2)),
    )
