"""A company's API: JSON over HTTP keep-alive, long polls and server-sent events.

Owns: one aiohttp program a host. Never keeps what it receives. In: a host. Out: `api` on 8000; TLS where the scenario
says `tls = true`.

As a program: `python3 -m bed.services.api PORT SEED ACCOUNTS [CERTIFICATE KEY]`.
"""

import asyncio
import base64
import json
import random
import ssl
import sys
from pathlib import Path

from ..catalog import service

PORT = 8000


@service("api")
async def api(svc):
    """The API; options: port, tls."""
    files = []
    if svc.options.get("tls"):
        files = ["certificate.pem", "key.pem"]
        await svc.once(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                        "-days", "900", "-subj", f"/CN={svc.host.fqdn}", "-out", files[0], "-keyout", files[1]])
    (svc.directory / "accounts").write_text(
        "".join(base64.b64encode(f"{user}:{password}".encode()).decode() + "\n" for user, password in svc.site.users))
    await svc.python("api", svc.port(PORT), svc.host.seed, "accounts", *files)
    await svc.ready(svc.port(PORT))


# The program.

class Api:
    """The handlers, with this host's own habits."""

    def __init__(self, seed, accounts):
        self.accounts = accounts
        self.rng = random.Random(f"{seed}/api")
        self.keepalive_s = self.rng.choice([5, 15, 75, 300, 3600])
        self.poll_s = self.rng.choice([10, 20, 30, 55])
        self.event_s = self.rng.choice([1, 4, 15, 30])

    def application(self):
        """The routes."""
        from aiohttp import web
        application = web.Application(client_max_size=256 << 20)
        application.add_routes([
            web.get("/health", self.health), web.get("/poll", self.poll), web.get("/events", self.events),
            web.get("/admin/", self.admin),
            web.route("*", "/v1/{rest:.*}", self.record), web.route("*", "/upload{rest:.*}", self.upload),
        ])
        return application

    async def health(self, _request):
        """Answers that all is well."""
        from aiohttp import web
        return web.json_response({"status": "ok"})

    async def admin(self, request):
        """For administrators: HTTP basic authentication with a company's account."""
        from aiohttp import web
        given = request.headers.get("Authorization", "")
        if given.removeprefix("Basic ") in self.accounts:
            return web.json_response({"menu": ["users", "jobs"]})
        return web.Response(status=401, text="who are you?", headers={"WWW-Authenticate": 'Basic realm="admin"'})

    async def record(self, request):
        """A record of varied size; the client may ask for `size` bytes."""
        from aiohttp import web
        await request.read()
        await asyncio.sleep(self.rng.expovariate(1 / 0.01))
        size = min(int(request.query.get("size", self.rng.choice([20, 120, 400, 2500]))), 4 << 20)
        return web.Response(text=json.dumps({"id": self.rng.getrandbits(32), "data": self.rng.randbytes(size // 2).hex()}),
                            content_type="application/json")

    async def poll(self, _request):
        """Answers when something happens, or after a while with nothing."""
        from aiohttp import web
        await asyncio.sleep(min(self.rng.expovariate(1 / self.poll_s), self.poll_s))
        return web.json_response({"events": self.rng.sample(range(1000), self.rng.randrange(4))})

    async def events(self, request):
        """Pushes events until the client leaves."""
        from aiohttp import web
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
        await response.prepare(request)
        try:
            for number in range(100_000):
                await asyncio.sleep(self.rng.expovariate(1 / self.event_s))
                body = self.rng.randbytes(self.rng.choice([0, 8, 40, 300])).hex()
                await response.write(f"id: {number}\ndata: {body}\n\n".encode() if body else b": keep\n\n")
        except ConnectionError:
            pass
        return response

    async def upload(self, request):
        """Takes a body and forgets it."""
        from aiohttp import web
        total = 0
        async for chunk in request.content.iter_any():
            total += len(chunk)
        return web.json_response({"bytes": total})


def main(port, seed, accounts, certificate=None, key=None):
    """Serves until it is ended."""
    from aiohttp import web
    context = None
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
    api = Api(seed, set(Path(accounts).read_text().split()))
    web.run_app(api.application(), port=int(port), ssl_context=context, access_log=None, print=None,
                keepalive_timeout=api.keepalive_s, handler_cancellation=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
