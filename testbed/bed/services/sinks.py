"""A sink: where stolen data goes. HTTPS, FTP, SMTP, raw TCP and DNS, all of which take bytes and forget them.

Owns: the listeners of one outside host. Never keeps a byte. In: uploads on `port` (443), `ftp_port` (21), `smtp_port` (25),
`raw_port` (8899) and `dns_port` (53). Out: receipts.
"""

import asyncio
import json
import random
import sys

from ..catalog import service
from .certificates import certificate, server_context
from .command_control import serve_dns
from .small_http import Reply, serve

PORTS = {"port": 443, "ftp_port": 21, "smtp_port": 25, "raw_port": 8899, "dns_port": 53}


@service("sink")
async def sink(svc):
    """All five in one process."""
    key, chain = await certificate(svc)
    settings = {name: int(svc.options.get(name, usual)) for name, usual in PORTS.items()}
    settings |= {"key": key, "chain": chain, "seed": svc.rng.getrandbits(40)}
    (svc.directory / "settings.json").write_text(json.dumps(settings))
    await svc.python("sinks", svc.directory / "settings.json")
    await svc.ready(settings["port"])


class Ftp:
    """One FTP control connection: enough of RFC 959 and RFC 2428 to store and fetch."""

    def __init__(self, reader, writer, greeting):
        self.reader, self.writer, self.greeting = reader, writer, greeting
        self.data = None

    async def talk(self):
        """Serves the connection to its end."""
        self._say(220, self.greeting)
        while line := await asyncio.wait_for(self.reader.readline(), 300):
            verb, _, argument = line.decode("latin-1").strip().partition(" ")
            if verb.upper() == "QUIT":
                self._say(221, "Goodbye.")
                return
            await self._command(verb.upper(), argument)

    def _say(self, code, text):
        self.writer.write(f"{code} {text}\r\n".encode())

    async def _command(self, verb, argument):
        usual = {"USER": (331, "Please specify the password."), "PASS": (230, "Login successful."), "SYST": (215, "UNIX Type: L8"),
                 "TYPE": (200, "Switching to Binary mode."), "PWD": (257, '"/" is the current directory'), "CWD": (250, "Directory changed."),
                 "MKD": (257, "created"), "SIZE": (213, "0"), "OPTS": (200, "ok"), "NOOP": (200, "ok"), "DELE": (250, "deleted")}
        if verb in ("PASV", "EPSV"):
            await self._open(verb)
        elif verb in ("STOR", "RETR", "LIST", "APPE"):
            await self._transfer(verb, argument)
        else:
            self._say(*usual.get(verb, (502, "Command not implemented.")))

    async def _open(self, verb):
        self.accepted = asyncio.get_running_loop().create_future()

        def accept(reader, writer):
            if not self.accepted.done():
                self.accepted.set_result((reader, writer))

        self.data = await asyncio.start_server(accept, self.writer.get_extra_info("sockname")[0], 0)
        address, port = self.data.sockets[0].getsockname()[:2]
        if verb == "EPSV":
            self._say(229, f"Entering Extended Passive Mode (|||{port}|)")
        else:
            self._say(227, f"Entering Passive Mode ({address.replace('.', ',')},{port >> 8},{port & 255}).")

    async def _transfer(self, verb, argument):
        self._say(150, "Ok to send data.")
        try:
            reader, writer = await asyncio.wait_for(self.accepted, 30)
            if verb in ("RETR", "LIST"):
                writer.write(random.randbytes(int(argument) if argument.isdigit() else 400))
            else:
                while await reader.read(65536):
                    pass
            writer.close()
            self._say(226, "Transfer complete.")
        except (TimeoutError, OSError):
            self._say(426, "Connection closed.")
        finally:
            self.data.close()


async def smtp(reader, writer, greeting):
    """One SMTP connection: takes every message."""
    writer.write(f"220 {greeting} ESMTP\r\n".encode())
    while line := await asyncio.wait_for(reader.readline(), 300):
        verb = line[:4].upper()
        if verb == b"DATA":
            writer.write(b"354 End data with <CR><LF>.<CR><LF>\r\n")
            while await reader.readline() not in (b".\r\n", b""):
                pass
            writer.write(b"250 2.0.0 Ok: queued\r\n")
        elif verb == b"QUIT":
            writer.write(b"221 2.0.0 Bye\r\n")
            return
        elif verb == b"EHLO":
            writer.write(b"250-mail\r\n250-PIPELINING\r\n250-SIZE 52428800\r\n250 8BITMIME\r\n")
        else:
            writer.write(b"250 2.1.0 Ok\r\n")


async def raw(reader, _writer):
    """Takes bytes until the other side has no more."""
    while await reader.read(65536):
        pass


def _bounded(talk):
    async def connection(reader, writer):
        try:
            await talk(reader, writer)
        except (TimeoutError, OSError, ValueError, asyncio.LimitOverrunError):
            pass
        finally:
            writer.close()
    return connection


async def main(settings):
    """Serves until it is ended."""
    rng = random.Random(settings["seed"])
    receipt = rng.choice((0, 20, 80, 400))

    async def upload(request):
        if request.method == "GET":
            return Reply(200, rng.randbytes(rng.choice((50, 500, 3000))), {"Content-Type": "text/html"})
        body = json.dumps({"id": f"{rng.getrandbits(64):x}", "size": request.size, "pad": "." * receipt}).encode()
        return Reply(rng.choice((200, 201)), body, {"Content-Type": "application/json"})

    await serve(settings["port"], upload, tls=server_context(settings, rng), idle_s=rng.choice((10, 60, 300)), most=rng.choice((10, 1000)))
    banner = rng.choice(("(vsFTPd 3.0.3)", "FTP server ready.", "ProFTPD Server"))
    name = f"mx{rng.randrange(9)}.example"
    await asyncio.start_server(_bounded(lambda r, w: Ftp(r, w, banner).talk()), None, settings["ftp_port"])
    await asyncio.start_server(_bounded(lambda r, w: smtp(r, w, name)), None, settings["smtp_port"], limit=1 << 20)
    await asyncio.start_server(_bounded(raw), None, settings["raw_port"])
    await serve_dns({"port": settings["dns_port"]}, rng)
    await asyncio.Event().wait()


if __name__ == "__main__":
    with open(sys.argv[1]) as file:
        asyncio.run(main(json.load(file)))
