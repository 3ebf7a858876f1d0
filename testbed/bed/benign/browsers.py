"""Web clients of one host: TLS as the host's library does it, names through the site's resolver, headers of its browser.

Owns no behaviour. Never verifies a certificate: all are self-signed. In: a context. Out: aiohttp sessions and contexts.
"""

import random
import socket
import ssl
import time

import aiohttp
from aiohttp.abc import AbstractResolver

from ..tls import unverified

AGENTS = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0 Safari/537.36",
    "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 14_5) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Safari/605.1.15",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148",
    "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 Chrome/125.0 Mobile Safari/537.36",
)
NAME_TTL_S = 60


def client_tls(ctx, protocols=()):
    """A TLS context; versions and cipher suites are the host's."""
    rng = random.Random(f"{ctx.host.seed}/tls")
    context = unverified()
    if rng.random() < 0.2:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    if rng.random() < 0.3:
        context.set_ciphers("ECDHE+AESGCM")
    elif rng.random() < 0.3:
        context.set_ciphers("ECDHE+CHACHA20:ECDHE+AESGCM:RSA+AESGCM")
    if protocols:
        context.set_alpn_protocols(protocols)
    return context


class Names(AbstractResolver):
    """Names through the site's resolver, remembered for a while, as an operating system does."""

    def __init__(self, ctx):
        self._ctx, self._known = ctx, {}

    async def resolve(self, host, port=0, family=socket.AF_INET):
        """Addresses of a name, in aiohttp's form."""
        until, addresses = self._known.get(host, (0, ()))
        if until < time.monotonic():
            addresses = await self._ask(host)
            self._known[host] = (time.monotonic() + NAME_TTL_S, addresses)
        if not addresses:
            raise OSError(f"no address for {host}")
        return [
            {
                "hostname": host,
                "host": each,
                "port": port,
                "family": socket.AF_INET6 if ":" in each else socket.AF_INET,
                "proto": 0,
                "flags": socket.AI_NUMERICHOST,
            }
            for each in addresses
        ]

    async def _ask(self, host):
        six = []
        if self._ctx.host.zone == "wan":
            # The internet's own lookups are not on our wire.
            found = next((each for each in self._ctx.site.hosts if each.fqdn == host), None)
            return [found.address] if found else []
        if self._ctx.host.address6 and self._ctx.host.seed % 3:
            six = await self._ctx.resolve(host, "AAAA")
        four = await self._ctx.resolve(host) or await self._ctx.resolve(host)
        return six[:1] + four[:2] if self._ctx.host.seed % 3 == 1 else four[:2] + six[:1]

    async def close(self):
        """Nothing is held open."""


def web_session(ctx, *, names=None, per_server=6, keepalive_s=30, timeout_s=60, headers=None):
    """An aiohttp session of this host; close it with `async with`."""
    rng = random.Random(f"{ctx.host.seed}/browser")
    usual = {
        "User-Agent": rng.choice(AGENTS),
        "Accept-Language": rng.choice(("en", "de,en;q=0.8", "fr-FR,fr;q=0.9,en;q=0.5")),
        "Accept-Encoding": rng.choice(("gzip, deflate", "identity")),
    }
    if rng.random() < 0.6:
        usual["Cookie"] = f"session={rng.randbytes(rng.randint(8, 400)).hex()}"
    connector = aiohttp.TCPConnector(
        resolver=names or Names(ctx),
        use_dns_cache=False,
        limit=40,
        limit_per_host=per_server,
        keepalive_timeout=keepalive_s,
        ssl=client_tls(ctx),
    )
    return aiohttp.ClientSession(
        connector=connector,
        headers=usual | (headers or {}),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=timeout_s, connect=12),
        auto_decompress=False,
    )


async def drain(response, *, rate=0, ctx=None, most=1 << 30):
    """Reads a body to its end, at most `rate` bytes a second; gives its size."""
    size = 0
    async for chunk in response.content.iter_chunked(32768):
        size += len(chunk)
        if rate:
            await ctx.sleep(len(chunk) / rate)
        if size >= most:
            break
    return size


def url_of(ctx, host, path, *, tls):
    """A server's address on the web: its name mostly, its IPv4 address now and then."""
    port = host.port("nginx", 80)
    if tls:
        found = host.offers("nginx")
        port = int(found.options.get("tls_port", 443)) if found else 443
    name = host.fqdn if ctx.rng.random() < 0.9 else host.address
    usual = 443 if tls else 80
    return f"http{'s' if tls else ''}://{name}{'' if port == usual else f':{port}'}{path}"
