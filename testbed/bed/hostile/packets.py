"""Packets written by hand: IPv4 with TCP, UDP or ICMP, and fragments of it. Bytes only; never a socket."""

import socket
import struct


def checksum(data: bytes) -> int:
    """The internet checksum."""
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    total = (total & 0xFFFF) + (total >> 16)
    return ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF


def ipv4(source: str, destination: str, protocol: int, payload: bytes, *, ttl=64, ident=0, fragment=0) -> bytes:
    """An IPv4 packet; `fragment` is the field of flags and offset. The kernel fills the checksum."""
    return (
        struct.pack(
            ">BBHHHBBH4s4s",
            0x45,
            0,
            20 + len(payload),
            ident,
            fragment,
            ttl,
            protocol,
            0,
            socket.inet_aton(source),
            socket.inet_aton(destination),
        )
        + payload
    )


def _summed(source, destination, protocol, segment, at):
    pseudo = socket.inet_aton(source) + socket.inet_aton(destination) + struct.pack(">BBH", 0, protocol, len(segment))
    return segment[:at] + struct.pack(">H", checksum(pseudo + segment) or 0xFFFF) + segment[at + 2 :]


def tcp(
    source, source_port, destination, destination_port, *, flags, seq, ack=0, window=65535, options=b"", data=b""
) -> bytes:
    """A TCP segment with its checksum."""
    head = struct.pack(
        ">HHIIBBHHH", source_port, destination_port, seq, ack, (5 + len(options) // 4) << 4, flags, window, 0, 0
    )
    return _summed(source, destination, 6, head + options + data, 16)


def udp(source, source_port, destination, destination_port, data: bytes) -> bytes:
    """A UDP datagram with its checksum."""
    head = struct.pack(">HHHH", source_port, destination_port, 8 + len(data), 0)
    return _summed(source, destination, 17, head + data, 6)


def icmp_echo(ident: int, number: int, data: bytes) -> bytes:
    """An ICMP echo request."""
    body = struct.pack(">BBHHH", 8, 0, 0, ident, number) + data
    return body[:2] + struct.pack(">H", checksum(body)) + body[4:]


def fragments(source, destination, protocol, payload: bytes, *, size: int, ident: int, ttl=64) -> list[bytes]:
    """An IPv4 packet in fragments of `size` bytes (a multiple of 8)."""
    pieces = [payload[at : at + size] for at in range(0, len(payload), size)]
    return [
        ipv4(
            source,
            destination,
            protocol,
            piece,
            ttl=ttl,
            ident=ident,
            fragment=(0x2000 if number + 1 < len(pieces) else 0) | (number * size // 8),
        )
        for number, piece in enumerate(pieces)
    ]
