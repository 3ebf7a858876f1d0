"""The web as people and programs use it: browsing, downloads, uploads, video, updates, and visitors from outside.

Owns: those behaviours. Never more than `per_min` flows on average. In: nginx servers of the site. Out: HTTP over TCP and
QUIC.
"""

import asyncio
import contextlib
import re
import shutil
import ssl
import tempfile
from urllib.parse import urljoin, urlsplit

import aiohttp
import httpx

from ..catalog import benign
from ..draws import log_uniform
from .browsers import Names, client_tls, drain, url_of, web_session
from .people import find, jobs, sessions

WEB_ERRORS = (aiohttp.ClientError, OSError, TimeoutError, ValueError)
SIZES = (50_000, 100_000, 200_000, 500_000, 1_000_000, 2_000_000, 5_000_000, 10_000_000, 20_000_000)
ASSETS_MAX = 40


def _servers(ctx, wan_share=0.75):
    """The web servers a client goes to: mostly the internet's, for a client outside the company's."""
    lan, wan = ctx.peers("nginx", "lan"), ctx.peers("nginx", "wan")
    if ctx.host.zone == "wan":
        return lan
    return wan if wan and (not lan or ctx.rng.random() < wan_share) else lan


def _server(ctx):
    """One of the servers, some far more often than others."""
    found = _servers(ctx)
    return found[min(int(ctx.rng.expovariate(1.5 / len(found))), len(found) - 1)] if found else None


@benign("web-browse", tool="aiohttp")
async def browse(ctx, per_min, think_s=None, tls_share=None):
    """Pages with their assets in parallel, thinking in between. About 15 flows a session. Options: think_s, tls_share."""
    await _browsing(ctx, per_min, think_s, tls_share)


@benign("visitors", tool="aiohttp")
async def visitors(ctx, per_min, think_s=None, tls_share=None):
    """People on the internet browse the company's LAN servers (hosts: WAN clients; several addresses are several people)."""
    await _browsing(ctx, per_min, think_s, tls_share, crowd=True)


async def _browsing(ctx, per_min, think_s, tls_share, crowd=False):
    think = think_s or log_uniform(ctx.rng, 3, 40)
    share = ctx.rng.choice((0.3, 0.7, 0.95, 1.0)) if tls_share is None else tls_share
    habits = {"per_server": ctx.rng.choice((1, 2, 4, 6, 8)), "keepalive_s": ctx.rng.choice((5, 15, 60, 115))}
    names = Names(ctx)

    async def session(one):
        one.pick_source()
        server = _server(one)
        if server is None:
            return
        async with web_session(one, names=names, **habits) as web:
            here = url_of(one, server, one.rng.choice(("/", "/p/0.html", "/p/3.html")), tls=one.rng.random() < share)
            for _ in range(min(1 + int(one.rng.expovariate(0.3)), 25)):
                text = await _page(one, web, here)
                links = re.findall(r'href="([^"]+)"', text)
                await one.sleep(min(one.rng.lognormvariate(0, 0.9) * think, 200))
                if not links:
                    break
                here = urljoin(here, one.rng.choice(links))
            if one.rng.random() < 0.5:
                # The tab stays open: connections end when the server or the pool has enough.
                await one.sleep(one.rng.uniform(5, 130))

    await sessions(ctx, per_min, 12, session, most=30 if crowd else 8, crowd=crowd)


async def _page(ctx, web, url):
    """One page and what belongs to it; gives the text."""
    try:
        async with web.get(url) as response:
            text = (await response.read()).decode("latin-1")
    except WEB_ERRORS:
        return ""
    assets = [urljoin(url, each) for each in re.findall(r'src="([^"]+)"', text)][:ASSETS_MAX]
    if ctx.host.zone == "wan":
        # The rest of the internet is not on our wire.
        assets = [each for each in assets if urlsplit(each).netloc == urlsplit(url).netloc]
    # A browser has seen some of them before.
    wanted = [each for each in assets if ctx.rng.random() < 0.6]
    extra = ctx.rng.choice(("/app/collect", "/app/search?q=a", "/favicon.ico", "", "", ""))
    if extra:
        wanted.append(urljoin(url, extra))

    async def fetch(each):
        try:
            async with web.get(each) as response:
                await drain(response)
        except WEB_ERRORS:
            pass

    fetches = asyncio.gather(*(fetch(each) for each in wanted))
    try:
        # Now and then somebody goes on before all is there.
        await asyncio.wait_for(fetches, 0.4 if ctx.rng.random() < 0.05 else 60)
    except TimeoutError:
        pass
    return text


@benign("web-browse-h2", tool="httpx")
async def browse_h2(ctx, per_min):
    """Pages over one HTTP/2 connection. Where the server speaks none, a few of HTTP/1.1. About 7 flows a session."""

    async def session(one):
        server = _server(one)
        if server is None:
            return
        found = await find(one, server)
        base = url_of(one, server, "", tls=True).replace(server.fqdn, f"[{found}]" if ":" in found else found)
        limits = httpx.Limits(keepalive_expiry=one.rng.choice((5, 30, 120)))
        async with httpx.AsyncClient(
            http2=True, verify=client_tls(one), timeout=30, limits=limits, headers={"host": server.fqdn}
        ) as web:
            number = 0
            for _ in range(min(1 + int(one.rng.expovariate(0.25)), 25)):
                text = (await web.get(f"{base}/p/{number}.html")).text
                assets = [each for each in re.findall(r'src="([^"]+)"', text) if each.startswith("/")][:ASSETS_MAX]
                await asyncio.gather(*(web.get(base + each) for each in assets if one.rng.random() < 0.6))
                await one.sleep(min(one.rng.lognormvariate(2, 1), 120))
                number = int(one.rng.choice(re.findall(r"/p/(\d+)", text) or ["0"]))

    await sessions(ctx, per_min, 7, _tolerant(session))


@benign("web-chromium", tool="chromium")
async def chromium(ctx, per_min):
    """A headless Chromium opens one page of one server. Costs two seconds of CPU: few."""

    async def session(one):
        server = _server(one)
        if server is None:
            return
        found = await find(one, server)
        tls = one.rng.random() < 0.6
        url = url_of(one, server, f"/p/{one.rng.randrange(12)}.html", tls=tls)
        folder = tempfile.mkdtemp(dir=one.directory)
        try:
            await one.run(
                [
                    "chromium",
                    "--headless",
                    "--no-sandbox",
                    "--disable-gpu",
                    "--disable-quic",
                    "--no-first-run",
                    "--disable-background-networking",
                    "--disable-component-update",
                    "--disable-sync",
                    "--disable-dev-shm-usage",
                    "--disable-extensions",
                    "--ignore-certificate-errors",
                    f"--host-resolver-rules=MAP * {f'[{found}]' if ':' in found else found}",
                    f"--user-data-dir={folder}",
                    f"--virtual-time-budget={one.rng.randint(1000, 8000)}",
                    "--dump-dom",
                    url,
                ],
                to=[(found, "", "tcp")],
                timeout_s=30,
            )
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    await sessions(ctx, per_min, 6, session, most=1)


@benign("web-curl", tool="curl")
async def curl(ctx, per_min):
    """Scripts with curl: a page, a header, a form, a file. One connection each; a program each."""

    async def session(one):
        server = _server(one)
        if server is None:
            return
        found = await find(one, server)
        tls = one.rng.random() < 0.6
        url = url_of(
            one,
            server,
            one.rng.choice(("/", "/robots.txt", "/p/1.html", "/f/5000", "/f/200000", "/app/search", "/missing")),
            tls=tls,
        )
        parts = urlsplit(url)
        port = parts.port or (443 if tls else 80)
        options = one.rng.choice(
            ([], ["-I"], ["-d", "a=" + "b" * one.rng.randint(1, 3000)], ["--http1.1"], ["--limit-rate", "50k"], ["-r", "0-999"])
        )
        name = f"[{found}]" if ":" in found else found
        connect = [] if parts.hostname == found else ["--connect-to", f"::{name}:{port}"]
        await one.run(
            ["curl", "-sk", "-m", "40", "-o", "/dev/null", *connect, *options, url], to=[(found, str(port), "tcp")], timeout_s=45
        )

    await (jobs if ctx.rng.random() < 0.4 else sessions)(ctx, per_min, 2.2, session)


@benign("web-download", tool="aiohttp")
async def download(ctx, per_min):
    """Files of 50 kB to 20 MB, often slower than the line. About 3 flows a session."""

    async def session(one):
        server = _server(one)
        if server is None:
            return
        async with web_session(one, timeout_s=300) as web:
            for _ in range(one.rng.choice((1, 1, 1, 2, 5))):
                size = SIZES[min(int(one.rng.expovariate(0.7)), len(SIZES) - 1)]
                rate = one.rng.choice((0, 0, log_uniform(one.rng, 30_000, 2_000_000)))
                give_up = size if one.rng.random() < 0.9 else size * one.rng.random()
                async with web.get(url_of(one, server, f"/f/{size}", tls=one.rng.random() < 0.6)) as response:
                    await drain(response, rate=rate, ctx=one, most=give_up)
                await one.sleep(one.rng.expovariate(1 / 8))

    await sessions(ctx, per_min, 3, _tolerant(session))


@benign("web-upload", tool="aiohttp")
async def upload(ctx, per_min):
    """POST and PUT of 1 kB to 3 MB in pieces, some in one go, some in drips. About 3 flows a session."""

    async def session(one):
        server = _server(one)
        if server is None:
            return
        size = round(log_uniform(one.rng, 1_000, 3_000_000))
        piece = one.rng.choice((4_096, 16_384, 65_536))
        pause_s = one.rng.choice((0, 0, 0.01, 0.2))

        async def body():
            sent = 0
            while sent < size:
                yield bytes(min(piece, size - sent))
                sent += piece
                if pause_s and sent < size:
                    await one.sleep(min(one.rng.expovariate(1 / pause_s), 3))

        async with web_session(one, timeout_s=240) as web:
            for _ in range(one.rng.choice((1, 1, 2, 6))):
                method = one.rng.choice((web.post, web.put))
                async with method(url_of(one, server, "/upload", tls=one.rng.random() < 0.7), data=body()) as response:
                    await drain(response)
                await one.sleep(one.rng.expovariate(1 / 10))

    await sessions(ctx, per_min, 3, _tolerant(session))


@benign("video-stream", tool="aiohttp")
async def video(ctx, per_min):
    """A player: ranges of a great file every few seconds for up to five minutes, on one kept connection. About 3 flows."""

    async def session(one):
        server = _server(one)
        if server is None:
            return
        segment_s = one.rng.choice((2, 4, 6, 10))
        rate = log_uniform(one.rng, 20_000, 250_000)
        url = url_of(one, server, "/f/67108864", tls=one.rng.random() < 0.8)
        position, ahead = 0, one.rng.randint(2, 5)
        async with web_session(one, timeout_s=60, per_server=one.rng.choice((1, 2)), keepalive_s=60) as web:
            for number in range(one.rng.randint(5, max(6, 300 // segment_s))):
                size = round(rate * segment_s * one.rng.uniform(0.5, 1.5))
                async with web.get(url, headers={"Range": f"bytes={position}-{position + size - 1}"}) as response:
                    await drain(response)
                position = (position + size) % 50_000_000
                if number >= ahead:
                    await one.sleep(segment_s * one.rng.uniform(0.8, 1.1))

    await sessions(ctx, per_min, 3, _tolerant(session), most=3)


@benign("software-update", tool="aiohttp")
async def update(ctx, per_min):
    """A package manager: indexes, then a burst of packages from a mirror, each on a new or a kept connection. About 12 flows."""
    kept = ctx.rng.random() < 0.6

    async def session(one):
        server = _server(one)
        if server is None:
            return
        tls = one.rng.random() < 0.4
        async with web_session(
            one, timeout_s=120, per_server=one.rng.choice((1, 4, 10)), headers={"User-Agent": "Debian APT-HTTP/1.3 (2.6.1)"}
        ) as web:

            async def get(path):
                async with web.get(
                    url_of(one, server, path, tls=tls), headers={} if kept else {"Connection": "close"}
                ) as response:
                    await drain(response)

            for path in ("/f/1024", "/f/20000", "/f/262144"):
                await get(path)
            if one.rng.random() < 0.5:
                packages = [2 ** one.rng.randint(9, 19) for _ in range(one.rng.randint(1, 40))]
                await asyncio.gather(*(get(f"/f/{size}") for size in packages))

    await jobs(ctx, per_min, 10, _tolerant(session))


@benign("quic-browse", tool="aioquic")
async def quic_browse(ctx, per_min):
    """Pages over HTTP/3. About 2 flows a session, one of them QUIC; costs 20 ms of CPU."""

    async def session(one):
        from aioquic.asyncio.protocol import QuicConnectionProtocol
        from aioquic.h3.connection import H3_ALPN, H3Connection
        from aioquic.h3.events import DataReceived, HeadersReceived
        from aioquic.quic.configuration import QuicConfiguration

        servers = one.peers("quic")
        if not servers:
            return
        server = one.rng.choice(servers)
        found = await find(one, server)

        class Client(QuicConnectionProtocol):
            def __init__(self, *arguments, **options):
                super().__init__(*arguments, **options)
                self.http, self.waiting = H3Connection(self._quic), {}

            def quic_event_received(self, event):
                for each in self.http.handle_event(event):
                    if isinstance(each, (DataReceived, HeadersReceived)) and each.stream_ended and each.stream_id in self.waiting:
                        self.waiting[each.stream_id].set_result(None)

            async def get(self, path):
                stream = self._quic.get_next_available_stream_id()
                self.waiting[stream] = asyncio.get_running_loop().create_future()
                self.http.send_headers(
                    stream,
                    [
                        (b":method", b"GET"),
                        (b":scheme", b"https"),
                        (b":authority", server.fqdn.encode()),
                        (b":path", path.encode()),
                    ],
                    end_stream=True,
                )
                self.transmit()
                await asyncio.wait_for(self.waiting[stream], 30)

        configuration = QuicConfiguration(
            is_client=True,
            alpn_protocols=H3_ALPN,
            verify_mode=ssl.CERT_NONE,
            server_name=server.fqdn,
            idle_timeout=one.rng.choice((15, 30, 60)),
        )
        async with _quic(found, server.port("quic", 443), configuration, Client) as client:
            for _ in range(min(1 + int(one.rng.expovariate(0.3)), 12)):
                await client.get("/page")
                await asyncio.gather(
                    *(client.get(f"/{round(log_uniform(one.rng, 300, 200_000))}") for _ in range(one.rng.randint(0, 8)))
                )
                await one.sleep(min(one.rng.lognormvariate(1.3, 1), 30))

    await sessions(ctx, per_min, 2.5, session, most=3)


@contextlib.asynccontextmanager
async def _quic(found, port, configuration, protocol):
    """aioquic's `connect`, but on a connected socket of the right family, whose address the truth can name."""
    from aioquic.quic.connection import QuicConnection

    loop = asyncio.get_running_loop()
    transport, client = await loop.create_datagram_endpoint(
        lambda: protocol(QuicConnection(configuration=configuration)), remote_addr=(found, port)
    )
    try:
        client.connect((found, port, 0, 0) if ":" in found else (found, port))
        await asyncio.wait_for(client.wait_connected(), 15)
        yield client
    finally:
        client.close()
        try:
            await asyncio.wait_for(client.wait_closed(), 5)
        finally:
            transport.close()


def _tolerant(session):
    """The session, whose library's own errors count as network trouble."""

    async def call(one):
        try:
            await session(one)
        except (aiohttp.ClientError, httpx.HTTPError) as error:
            raise OSError(str(error)) from error

    return call
