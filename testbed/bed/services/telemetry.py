"""Telemetry: agents that are asked, and collectors that are told.

Owns: `snmp` (snmpd), `mqtt` (mosquitto), and small servers of ours in one process a host: `agent` (metrics over HTTP),
`collector` (syslog, statsd, heartbeats, printers' raw port), `camera` (RTSP, RTP). Never keeps what it receives. In: a
host. Out: listeners.

As a program: `python3 -m bed.services.telemetry SEED KIND PORT [KIND PORT ...]`.
"""

import asyncio
import random
import struct
import sys

from ..catalog import service

AGENT_PORT = 9100
SYSLOG_PORT, SYSLOG_TCP_PORT, STATSD_PORT, BEAT_PORT, RAW_PRINT_PORT = 514, 601, 8125, 5514, 9100
RTSP_PORT = 554


def community(host):
    """The SNMP community of a host."""
    rng = random.Random(f"{host.seed}/snmp")
    return rng.choice(["public", "public", "monitor", f"ro{rng.randrange(1000)}"])


def mqtt_account(site, host):
    """The account that a broker wants, or None where anybody may publish."""
    rng = random.Random(f"{host.seed}/mqtt")
    return rng.choice(site.users) if rng.random() < 0.5 else None


@service("snmp")
async def snmp(svc):
    """A real snmpd, versions 1 and 2c; options: port."""
    port = svc.port(161)
    (svc.directory / "snmpd.conf").write_text(
        f"rocommunity {community(svc.host)}\nrocommunity6 {community(svc.host)}\nsysLocation rack {svc.rng.randrange(40)}\n"
        f"sysContact noc@{svc.host.domain}\nsysName {svc.host.fqdn}\ndontLogTCPWrappersConnects yes\n")
    await svc.spawn(["snmpd", "-f", "-C", "-Lf", "/dev/null", "-c", svc.directory / "snmpd.conf", "-p", "/run/snmpd.pid",
                     "-I", "-smux,-lmSensors", f"udp:{port}", f"udp6:{port}"],
                    env={"SNMP_PERSISTENT_DIR": str(svc.directory), "MIBS": ""})


@service("mqtt")
async def mqtt(svc):
    """A mosquitto broker; options: port."""
    port, account = svc.port(1883), mqtt_account(svc.site, svc.host)
    lines = [f"listener {port}", "persistence false", "user root", "log_type error",
             f"max_keepalive {svc.rng.choice([300, 1200, 65535])}"]
    if account:
        await svc.once(["mosquitto_passwd", "-c", "-b", "accounts", *account])
        lines += ["allow_anonymous false", f"password_file {svc.directory}/accounts"]
    else:
        lines += ["allow_anonymous true"]
    (svc.directory / "mosquitto.conf").write_text("\n".join(lines) + "\n")
    await svc.spawn(["mosquitto", "-c", svc.directory / "mosquitto.conf"])
    await svc.ready(port)


@service("agent")
async def agent(svc):
    """Metrics over HTTP, as a monitored server offers them; options: port."""
    await _serve(svc, "metrics", svc.port(AGENT_PORT), wait=svc.port(AGENT_PORT))


@service("collector")
async def collector(svc):
    """Syslog over UDP and TCP, statsd, heartbeats over UDP and TCP."""
    await _serve(svc, "udp", SYSLOG_PORT, "lines", SYSLOG_TCP_PORT, "udp", STATSD_PORT, "echo-udp", BEAT_PORT,
                 "echo", BEAT_PORT, wait=BEAT_PORT)


@service("printer")
async def printer(svc):
    """A printer's raw port; options: port."""
    await _serve(svc, "lines", svc.port(RAW_PRINT_PORT), wait=svc.port(RAW_PRINT_PORT))


@service("camera")
async def camera(svc):
    """A camera: RTSP over TCP, RTP over UDP to whoever asked; options: port."""
    await _serve(svc, "rtsp", svc.port(RTSP_PORT), wait=svc.port(RTSP_PORT))


async def _serve(svc, *listeners, wait):
    await svc.python("telemetry", svc.host.seed, *listeners)
    await svc.ready(wait)


# The program.

async def serve(seed, listeners):
    """Listens on every (kind, port) until it is ended."""
    for kind, port in listeners:
        rng = random.Random(f"{seed}/{kind}/{port}")
        if kind in ("udp", "echo-udp"):
            await _listen_udp(kind, port, rng)
        else:
            handler = {"metrics": Metrics, "lines": Lines, "echo": Echo, "rtsp": Rtsp}[kind](rng).talk
            await asyncio.start_server(handler, None, port)
    await asyncio.Event().wait()


async def _listen_udp(kind, port, rng):
    reply_bytes = rng.choice([0, 4, 16, 48]) if kind == "echo-udp" else 0

    class Receiver(asyncio.DatagramProtocol):
        def connection_made(self, transport):
            self.transport = transport

        def datagram_received(self, data, address):
            if kind == "echo-udp":
                self.transport.sendto(data[:8] + bytes(reply_bytes), address)

    await asyncio.get_running_loop().create_datagram_endpoint(Receiver, ("::", port))  # IPv4 too


class Handler:
    """One connection of a client; errors of the network end it."""

    def __init__(self, rng):
        self.rng = rng

    async def talk(self, reader, writer):
        """Serves one connection."""
        try:
            await self.serve(reader, writer)
        except (OSError, EOFError, TimeoutError, ValueError):
            pass
        finally:
            writer.close()


class Lines(Handler):
    """Takes bytes and answers nothing."""

    async def serve(self, reader, _writer):
        while await reader.read(65536):
            pass


class Echo(Handler):
    """Answers each message with a short one."""

    def __init__(self, rng):
        super().__init__(rng)
        self.reply_bytes = rng.choice([2, 4, 12, 40, 120])

    async def serve(self, reader, writer):
        while data := await reader.read(4096):
            writer.write(data[: self.reply_bytes].ljust(self.reply_bytes, b"."))


class Metrics(Handler):
    """HTTP/1.1 with one page of numbers."""

    def __init__(self, rng):
        super().__init__(rng)
        self.lines = rng.choice([40, 120, 400, 900])
        self.keep_s = rng.choice([5, 30, 75, 300])

    async def serve(self, reader, writer):
        while True:
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), self.keep_s)
            body = b"ok\n" if b" /health" in head else self._page()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\n"
                         b"Content-Length: %d\r\n\r\n" % len(body) + body)
            await writer.drain()
            if b"connection: close" in head.lower():
                return

    def _page(self):
        return b"".join(b'node_counter_total{instance="%d",unit="bytes"} %d\n' % (n, self.rng.randrange(10**9))
                        for n in range(self.lines))


class Rtsp(Handler):
    """RTSP with one stream, sent as RTP over UDP from a port of its own for each viewer."""

    async def serve(self, reader, writer):
        viewer = None
        try:
            while True:
                head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 90)).decode(errors="replace")
                method, sequence = head.split(" ", 1)[0], _header(head, "CSeq") or "0"
                extra, body = "", ""
                if method == "DESCRIBE":
                    body = "v=0\r\ns=camera\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:track1\r\n"
                elif method == "SETUP":
                    viewer = await _rtp_port(self.rng)
                    extra = f"Transport: RTP/AVP;unicast;server_port={viewer.port}\r\n"
                elif method == "TEARDOWN":
                    return
                writer.write(f"RTSP/1.0 200 OK\r\nCSeq: {sequence}\r\nSession: 42\r\n{extra}"
                             f"Content-Length: {len(body)}\r\n\r\n{body}".encode())
        finally:
            if viewer:
                viewer.stop()


async def _rtp_port(rng):
    class Stream(asyncio.DatagramProtocol):
        """Streams to whoever sends the first datagram (the viewer opens its firewall this way)."""

        def connection_made(self, transport):
            self.transport, self.task = transport, None
            self.port = transport.get_extra_info("sockname")[1]

        def datagram_received(self, _data, address):
            if self.task is None:
                self.task = asyncio.create_task(self._send(address))

        async def _send(self, address):
            frames_per_s, mean_bytes = rng.choice([5, 10, 15]), rng.randrange(400, 2500)
            number = 0
            for frame in range(frames_per_s * 600):
                size = int(mean_bytes * (6 if frame % (frames_per_s * 2) == 0 else rng.uniform(0.5, 1.4)))
                while size > 0:
                    number += 1
                    head = struct.pack(">BBHII", 0x80, 96, number & 0xFFFF, frame * 9000 & 0xFFFFFFFF, 7)
                    self.transport.sendto(head + bytes(min(size, 1200)), address)
                    size -= 1200
                await asyncio.sleep(1 / frames_per_s)

        def stop(self):
            """Ends the stream."""
            if self.task:
                self.task.cancel()
            self.transport.close()

    _, protocol = await asyncio.get_running_loop().create_datagram_endpoint(Stream, ("::", 0))
    return protocol


def _header(head, name):
    for line in head.split("\r\n"):
        key, _, value = line.partition(":")
        if key.lower() == name.lower():
            return value.strip()
    return None


if __name__ == "__main__":
    rest = sys.argv[2:]
    asyncio.run(serve(sys.argv[1], [(kind, int(port)) for kind, port in zip(rest[::2], rest[1::2], strict=True)]))
