"""What has its own clock: chats, calls, time, pings and VPNs.

Owns: those behaviours. In: websocket, sip, ntp and vpn hosts. Out: long-lived and periodic flows.
"""

import asyncio
import contextlib
import re
import time

import websockets
from websockets.asyncio.client import connect

from ..catalog import benign
from ..draws import log_uniform
from ..services.realtime import VPN_ECHO, VPN_SERVER
from .browsers import client_tls
from .people import find, jobs, sessions

NTP_EPOCH_S = 2_208_988_800


@benign("websocket-chat", tool="websockets")
async def chat(ctx, per_min):
    """A chat window: messages in spells, pings, minutes to half an hour. About 2 flows a session."""

    async def session(one):
        servers = one.peers("websocket")
        if not servers:
            return
        server = one.rng.choice(servers)
        found = await find(one, server)
        tls = bool(server.offers("websocket").options.get("tls"))
        address = f"ws{'s' if tls else ''}://{f'[{found}]' if ':' in found else found}:{server.port('websocket', 8765)}/chat"
        talk_s = log_uniform(one.rng, 1, 60)
        end_us = one.now_us() + 1e6 * min(log_uniform(one.rng, 20, 1800), max(one.left_s - 5, 5))
        try:
            async with connect(
                address,
                ssl=client_tls(one) if tls else None,
                ping_interval=one.rng.choice((None, 15, 20, 30)),
                open_timeout=15,
                close_timeout=5,
                proxy=None,
                compression=one.rng.choice((None, "deflate")),
            ) as socket:

                async def read():
                    with contextlib.suppress(websockets.WebSocketException, OSError):
                        async for _ in socket:
                            pass

                reading = asyncio.ensure_future(read())
                try:
                    while one.now_us() < end_us and not reading.done():
                        await socket.send("c" * min(int(one.rng.lognormvariate(4, 1)), 8000))
                        spell = one.rng.random() < 0.7
                        await one.sleep(min(one.rng.expovariate(1 / (talk_s if spell else 10 * talk_s)), 120))
                finally:
                    reading.cancel()
        except websockets.WebSocketException as error:
            raise OSError(str(error)) from error

    await sessions(ctx, per_min, 2.4, session, most=4)


class _Datagrams(asyncio.DatagramProtocol):
    """A socket whose datagrams wait in a queue."""

    def __init__(self):
        self.heard = asyncio.Queue(200)

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, address):
        if not self.heard.full():
            self.heard.put_nowait(data)

    def error_received(self, _error):
        """Nobody there: the next wait runs out."""


async def _datagrams(found, port, *, source=None):
    _, protocol = await asyncio.get_running_loop().create_datagram_endpoint(
        _Datagrams, remote_addr=(found, port), local_addr=source
    )
    return protocol


@benign("ntp-sync", tool="asyncio")
async def ntp(ctx, per_min):
    """Polls of one or several servers, a burst at first; one port for the whole poll. One flow a poll and server."""
    servers = ctx.peers("ntp")
    chosen = ctx.rng.sample(servers, min(len(servers), ctx.rng.choice((1, 1, 2, 4))))
    names = ctx.rng.random() < 0.4

    async def poll(one):
        for server in chosen:
            found = await find(one, server) if names else server.address
            peer = await _datagrams(found, 123)
            try:
                for _ in range(one.rng.choice((1, 1, 1, 1, 4, 8))):
                    sent = (int(time.time() + NTP_EPOCH_S) % 2**32).to_bytes(4) + one.rng.randbytes(4)
                    peer.transport.sendto(bytes((0x23, 0, 6, 0xE9)) + bytes(36) + sent)
                    try:
                        await asyncio.wait_for(peer.heard.get(), 3)
                    except TimeoutError:
                        pass
                    await one.sleep(one.rng.choice((0, 2)))
            finally:
                peer.transport.close()

    await jobs(ctx, per_min, max(len(chosen), 1), poll)


@benign("icmp-ping", tool="ping")
async def ping(ctx, per_min):
    """Is it up? 1 to 30 echo requests to a server, a client or a dead address. One flow a run; a program each."""
    favourite = ctx.rng.choice(ctx.site.hosts)

    async def run(one):
        if one.rng.random() < 0.1:
            found = next(iter(one.site.dark4(one.rng)), favourite.address)
        else:
            host = favourite if one.rng.random() < 0.5 else one.rng.choice(one.site.hosts)
            if host is one.host or (host.zone == one.host.zone == "wan"):
                return
            found = host.address6 if host.address6 and one.host.address6 and one.rng.random() < 0.25 else host.address
        count, gap_s = one.rng.choice((1, 3, 4, 4, 5, 10, 30)), one.rng.choice((0.2, 1, 1, 1, 2))
        await one.run(
            [
                "ping",
                "-n",
                "-c",
                str(count),
                "-i",
                str(gap_s),
                "-s",
                str(one.rng.choice((56, 56, 32, 8, 1000, 1400))),
                "-W",
                "2",
                found,
            ],
            to=[(found, "", "icmp")],
            timeout_s=count * gap_s + 10,
        )

    await (jobs if ctx.rng.random() < 0.5 else sessions)(ctx, per_min, 1, run)


@benign("sip-call", tool="asyncio")
async def call(ctx, per_min, seconds=None):
    """Registers, rings, talks with RTP both ways for 10 to 60 seconds (option seconds). About 4 flows; 100 packets a second."""

    async def session(one):
        servers = one.peers("sip")
        if not servers:
            return
        server = one.rng.choice(servers)
        if one.rng.random() < 0.3:
            await one.resolve(f"_sip._udp.{one.site.domain}", "SRV")
        sip = await _datagrams(server.address, server.port("sip", 5060))
        try:
            await _register(one, sip, server)
            if one.rng.random() < 0.6:
                await _call(one, sip, server, seconds or one.rng.uniform(10, 60))
        finally:
            sip.transport.close()

    await sessions(ctx, per_min, 2, session, most=2)


def _request(ctx, sip, method, server, call, number, *, more="", body=""):
    me = ctx.host.address
    port = sip.transport.get_extra_info("sockname")[1]
    sip.transport.sendto(
        (
            f"{method} sip:200@{server.address} SIP/2.0\r\nVia: SIP/2.0/UDP {me}:{port};branch=z9hG4bK{number}{call[:8]}\r\nMax-Forwards: 70\r\n"
            f"From: <sip:{ctx.host.name}@{server.address}>;tag={call[:6]}\r\nTo: <sip:200@{server.address}>\r\nCall-ID: {call}\r\nCSeq: {number} {method}\r\n"
            f"Contact: <sip:{ctx.host.name}@{me}:{port}>\r\nUser-Agent: phone/{ctx.host.seed % 90}\r\n{more}Content-Length: {len(body)}\r\n\r\n{body}"
        ).encode()
    )


async def _answer(sip, *, timeout_s=8):
    """The next final answer."""
    while True:
        text = (await asyncio.wait_for(sip.heard.get(), timeout_s)).decode("latin-1")
        if not text.startswith("SIP/2.0 1"):
            return text


async def _register(ctx, sip, server):
    name = f"{ctx.rng.getrandbits(64):x}"
    _request(ctx, sip, "REGISTER", server, name, 1)
    if "401" in (await _answer(sip))[:12]:
        _request(
            ctx,
            sip,
            "REGISTER",
            server,
            name,
            2,
            more=f'Authorization: Digest username="{ctx.host.name}", response="{ctx.rng.getrandbits(128):032x}"\r\n',
        )
        await _answer(sip)


async def _call(ctx, sip, server, seconds):
    name, payload = f"{ctx.rng.getrandbits(64):x}", ctx.rng.choice((160, 160, 20, 33))
    _request(
        ctx,
        sip,
        "INVITE",
        server,
        name,
        1,
        more="Content-Type: application/sdp\r\n",
        body=f"v=0\r\no=- 1 1 IN IP4 {ctx.host.address}\r\ns=-\r\nc=IN IP4 {ctx.host.address}\r\nt=0 0\r\nm=audio 40000 RTP/AVP 0\r\na=x-payload:{payload}\r\n",
    )
    port = int(next(iter(re.findall(r"m=audio (\d+)", await _answer(sip, timeout_s=20))), "0"))
    _request(ctx, sip, "ACK", server, name, 1)
    if not port:
        return
    media = await _datagrams(server.address, port)
    loop = asyncio.get_running_loop()
    start, silent = loop.time(), ctx.rng.choice((0.0, 0.3, 0.6))
    try:
        for step in range(min(int(seconds * 50), int(max(ctx.left_s - 3, 0) * 50))):
            # Half of a talk is listening; the caller says hello first.
            if step < 100 or (step // 100 * 2654435761 % 97) / 97 >= silent:
                media.transport.sendto(b"\x80\0" + (step % 65536).to_bytes(2) + (step * 160).to_bytes(4) + bytes(4 + payload))
            await asyncio.sleep(max(start + 0.02 * step - loop.time(), 0))
    finally:
        media.transport.close()
    _request(ctx, sip, "BYE", server, name, 2)
    await _answer(sip)


@benign("vpn-session", tool="openvpn")
async def vpn(ctx, per_min):
    """An OpenVPN tunnel for two to twenty minutes with a user inside it. One flow; a program and a Python process each."""

    async def session(one):
        servers = one.peers("vpn")
        if not servers:
            return
        server = one.rng.choice(servers)
        found, port = await find(one, server), server.port("vpn", 1194)
        protocol = server.offers("vpn").options.get("protocol", "udp")
        keys = server.machine.directory / "vpn"
        if not (keys / "server.print").exists():
            return
        seconds = min(log_uniform(one.rng, 60, 1200), max(one.left_s - 8, 5))
        start_us = one.now_us()
        tunnel = await one.start(
            [
                "openvpn",
                "--client",
                "--dev",
                "tun",
                "--proto",
                f"{protocol}{'-client' if protocol == 'tcp' else ''}",
                "--remote",
                found,
                port,
                "--nobind",
                "--cert",
                keys / "client.pem",
                "--key",
                keys / "client.key",
                "--peer-fingerprint",
                (keys / "server.print").read_text(),
                "--disable-dco",
                "--route-nopull",
                "--keepalive",
                one.rng.choice((5, 10, 30)),
                "120",
                "--verb",
                "1",
            ]
        )
        try:
            # What goes through the tunnel is not on the wire as itself: no truth of its own.
            await one.run(
                [one.bed.python, "-m", "bed.services.vpn_traffic", "use", VPN_SERVER, VPN_ECHO, one.rng.getrandbits(32), seconds],
                env={"PYTHONPATH": str(one.bed.root)},
                timeout_s=seconds + 5,
            )
        finally:
            if tunnel.returncode is None:
                tunnel.terminate()
            one.window([(found, str(port), protocol)], start_us)

    await sessions(ctx, per_min, 1.7, session, most=1)
