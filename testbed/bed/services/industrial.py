"""Plant: Modbus/TCP, DNP3 and OPC UA servers.

Owns: the registers and points, which change by themselves. Never speaks first, but for DNP3's unsolicited reports. In: a
host. Out: `modbus` (502), `dnp3` (20000), `opcua` (4840).

As a program: `python3 -m bed.services.industrial KIND PORT SEED`.
"""

import asyncio
import random
import struct
import sys

from ..catalog import service

MODBUS_PORT, DNP3_PORT, OPCUA_PORT = 502, 20000, 4840


@service("modbus")
async def modbus(svc):
    """Modbus/TCP units behind one address; options: port."""
    await _serve(svc, "modbus", svc.port(MODBUS_PORT))


@service("dnp3")
async def dnp3(svc):
    """A DNP3 outstation; options: port."""
    await _serve(svc, "dnp3", svc.port(DNP3_PORT))


@service("opcua")
async def opcua(svc):
    """An OPC UA server without security; options: port. Needs some 70 MB."""
    await _serve(svc, "opcua", svc.port(OPCUA_PORT))


async def _serve(svc, kind, port):
    await svc.python("industrial", kind, port, svc.host.seed)
    await svc.ready(port, timeout_s=60)


def modbus_units(host):
    """The units that answer at a Modbus host: gateways have several."""
    return random.Random(f"{host.seed}/units").choice([1, 1, 2, 4, 8])


# DNP3's link layer (IEEE 1815): 0x0564, length, control, destination, source, CRC; then blocks of 16 bytes with a CRC each.

def _crc_table():
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ 0xA6BC if byte & 1 else byte >> 1
        table.append(byte)
    return table


_CRC = _crc_table()


def dnp3_crc(data: bytes) -> bytes:
    """DNP3's CRC: polynomial 0x3D65, reflected, inverted, low byte first."""
    crc = 0
    for byte in data:
        crc = crc >> 8 ^ _CRC[(crc ^ byte) & 0xFF]
    return struct.pack("<H", crc ^ 0xFFFF)


def dnp3_frame(control: int, destination: int, source: int, payload: bytes) -> bytes:
    """One link frame; `payload` is the transport octet and the application fragment (at most 250 bytes)."""
    head = struct.pack("<BBBBHH", 0x05, 0x64, 5 + len(payload), control, destination, source)
    blocks = (payload[at:at + 16] for at in range(0, len(payload), 16))
    return head + dnp3_crc(head) + b"".join(block + dnp3_crc(block) for block in blocks)


async def dnp3_read(reader) -> tuple[int, int, int, bytes]:
    """Reads one link frame: control, destination, source, payload. Raises ValueError if it is none."""
    head = await reader.readexactly(10)
    if head[:2] != b"\x05\x64" or dnp3_crc(head[:8]) != head[8:]:
        raise ValueError("not a DNP3 frame")
    length, control, destination, source = struct.unpack("<BBHH", head[2:8])
    left, payload = length - 5, b""
    while left > 0:
        size = min(left, 16)
        block = await reader.readexactly(size + 2)
        if dnp3_crc(block[:size]) != block[size:]:
            raise ValueError("a DNP3 block fails its check")
        payload += block[:size]
        left -= size
    return control, destination, source, payload


# The program.

class ModbusServer:
    """Holding and input registers, coils; some addresses do not exist."""

    def __init__(self, seed):
        self.rng = random.Random(f"{seed}/modbus")
        self.units = random.Random(f"{seed}/units").choice([1, 1, 2, 4, 8])
        self.registers = self.rng.choice([100, 400, 2000])
        self.delay_s = self.rng.choice([0, 0.001, 0.005, 0.02, 0.06])

    async def talk(self, reader, writer):
        """Serves one master."""
        while True:
            transaction, _, length, unit = struct.unpack(">HHHB", await reader.readexactly(7))
            if not 2 <= length <= 254:
                return
            request = await reader.readexactly(length - 1)
            if self.delay_s:
                await asyncio.sleep(self.delay_s * self.rng.uniform(0.5, 1.5))
            answer = self._answer(unit, request)
            writer.write(struct.pack(">HHHB", transaction, 0, len(answer) + 1, unit) + answer)
            await writer.drain()

    def _answer(self, unit, request):
        function = request[0]
        if unit > self.units:
            return bytes([function | 0x80, 0x0B])  # gateway: the target did not respond
        if function in (1, 2, 3, 4) and len(request) == 5:
            start, count = struct.unpack(">HH", request[1:])
            if not 1 <= count <= 125 or start + count > self.registers:
                return bytes([function | 0x80, 0x02])
            data = self.rng.randbytes((count + 7) // 8 if function < 3 else 2 * count)
            return bytes([function, len(data)]) + data
        if function in (5, 6, 15, 16) and len(request) >= 5:
            return request[:5]
        return bytes([function | 0x80, 0x01])


class Outstation:
    """A DNP3 outstation: answers reads, and reports by itself now and then."""

    def __init__(self, seed):
        self.rng = random.Random(f"{seed}/dnp3")
        self.points = self.rng.choice([8, 20, 45])
        self.report_s = self.rng.choice([None, 3, 10, 30])

    async def talk(self, reader, writer):
        """Serves one master."""
        peer = {}
        reporting = asyncio.create_task(self._report(writer, peer)) if self.report_s else None
        try:
            while True:
                _, us, master, payload = await dnp3_read(reader)
                peer["link"] = (master, us)
                if len(payload) < 3 or payload[2] == 0:  # no fragment, or a confirmation
                    continue
                writer.write(self._response(master, us, payload[1] & 0x0F, 0x81))
                await writer.drain()
        finally:
            if reporting:
                reporting.cancel()

    def _response(self, master, us, sequence, function):
        count = self.points if function == 0x81 else self.rng.randrange(1, 5)
        points = b"".join(b"\x01" + struct.pack("<h", self.rng.randrange(-9999, 9999)) for _ in range(count))
        # Application header, internal indications, then group 30 variation 2 with start and stop.
        flags = 0xC0 if function == 0x81 else 0xF0
        fragment = bytes([flags | sequence, function, 0, 0, 30, 2, 0, 0, count - 1]) + points
        return dnp3_frame(0x44, master, us, b"\xc0" + fragment)

    async def _report(self, writer, peer):
        sequence = 0
        while not writer.is_closing():
            await asyncio.sleep(self.rng.expovariate(1 / self.report_s))
            if "link" in peer:
                sequence = (sequence + 1) % 16
                writer.write(self._response(*peer["link"], sequence, 0x82))


async def serve(kind, port, seed):
    """Serves until it is ended."""
    if kind == "opcua":
        await _serve_opcua(port, seed)
    device = {"modbus": ModbusServer, "dnp3": Outstation}[kind](seed)

    async def talk(reader, writer):
        try:
            await device.talk(reader, writer)
        except (OSError, EOFError, ValueError):
            pass
        finally:
            writer.close()

    await asyncio.start_server(talk, None, port)
    await asyncio.Event().wait()


async def _serve_opcua(port, seed):
    from asyncua import Server
    rng = random.Random(f"{seed}/opcua")
    server = Server()
    await server.init()
    server.set_endpoint(f"opc.tcp://0.0.0.0:{port}/plant")
    index = await server.register_namespace("urn:plant")
    plant = await server.nodes.objects.add_object(index, "plant")
    variables = [await plant.add_variable(f"ns={index};s=tag{n}", f"tag{n}", 0.0) for n in range(rng.choice([12, 30, 60]))]
    async with server:
        while True:
            await asyncio.sleep(rng.uniform(0.5, 2))
            for variable in rng.sample(variables, 4):
                await variable.write_value(rng.uniform(0, 100))


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], int(sys.argv[2]), sys.argv[3]))
