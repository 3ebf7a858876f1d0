"""Line protocols as a client speaks them (SMTP, IMAP, SIP over TCP): connect, say, hear, upgrade to TLS.

Owns: one connection, which is closed at the end whatever happens. In: an address. Out: lines.
"""

import asyncio
import contextlib

from .browsers import client_tls

LINE_MAX = 1 << 20


class Lines:
    """A conversation."""

    def __init__(self, ctx, reader, writer):
        self._ctx, self.reader, self.writer = ctx, reader, writer

    async def hear(self, timeout_s=60) -> str:
        """One line; raises at the end of the stream."""
        line = await asyncio.wait_for(self.reader.readuntil(b"\n"), timeout_s)
        return line.decode("latin-1").rstrip()

    async def say(self, text):
        """Sends a line."""
        self.writer.write(f"{text}\r\n".encode("latin-1"))
        await self.writer.drain()

    async def encrypt(self):
        """Starts TLS."""
        await self.writer.start_tls(client_tls(self._ctx), server_hostname="mail.example", ssl_handshake_timeout=15)


@contextlib.asynccontextmanager
async def conversation(ctx, address, port, *, tls=False):
    """Opens a conversation and closes it at the end."""
    reader, writer = await asyncio.wait_for(
        asyncio.open_connection(
            address, port, limit=LINE_MAX, ssl=client_tls(ctx) if tls else None, server_hostname="mail.example" if tls else None
        ),
        20,
    )
    try:
        yield Lines(ctx, reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(OSError, TimeoutError):
            await asyncio.wait_for(writer.wait_closed(), 5)
