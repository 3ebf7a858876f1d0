"""Mail as people's programs do it: sending, and reading by polling or by waiting.

Owns: those behaviours. In: mail hosts and the company's accounts. Out: SMTP and IMAP flows, plain and TLS, short and long.
"""

import asyncio
import base64
import contextlib

from ..catalog import benign
from ..draws import log_uniform
from .lines import conversation
from .people import find, jobs, sessions

CHUNK = 16_384
PORTS = {"smtp": 25, "submission": 587, "imap": 143, "imaps": 993}


def _server(ctx):
    servers = ctx.peers("mail")
    return servers[ctx.host.seed % len(servers)] if servers else None


def _port(server, name):
    return int(server.offers("mail").options.get(name, PORTS[name]))


@benign("mail-send", tool="asyncio")
async def send(ctx, per_min):
    """Messages of 1 kB to 5 MB: submission with STARTTLS and AUTH by people, port 25 by machines. About 2 flows a message."""

    async def session(one):
        servers = one.peers("mail")
        if not servers:
            return
        server = one.rng.choice(servers)
        submission = one.rng.random() < 0.7
        if one.rng.random() < 0.3:
            await one.resolve(server.domain, "MX")
        found = await find(one, server)
        async with conversation(one, found, _port(server, "submission" if submission else "smtp")) as talk:
            await _hear(talk)
            await _ehlo(one, talk)
            if submission or one.rng.random() < 0.4:
                await talk.say("STARTTLS")
                await _hear(talk)
                await talk.encrypt()
                await _ehlo(one, talk)
            if submission:
                user, password = one.rng.choice(one.site.users)
                await talk.say("AUTH PLAIN " + base64.b64encode(f"\0{user}\0{password}".encode()).decode())
                await _hear(talk)
            for _ in range(one.rng.choice((1, 1, 1, 1, 2, 10))):
                await _message(one, talk)
            await talk.say("QUIT")
            await _hear(talk)

    await (jobs if ctx.rng.random() < 0.2 else sessions)(ctx, per_min, 2.5, session)


async def _hear(talk):
    while (await talk.hear())[3:4] == "-":
        pass


async def _ehlo(ctx, talk):
    await talk.say(f"EHLO {ctx.host.name}")
    await _hear(talk)


async def _message(ctx, talk):
    size = round(min(ctx.rng.lognormvariate(9, 1.6), 5_000_000))
    await talk.say(f"MAIL FROM:<{ctx.rng.choice(ctx.site.users)[0]}@{ctx.site.domain}> SIZE={size}")
    await _hear(talk)
    for _ in range(ctx.rng.choice((1, 1, 2, 5))):
        await talk.say(f"RCPT TO:<{ctx.rng.choice(ctx.site.users)[0]}@{ctx.site.domain}>")
        await _hear(talk)
    await talk.say("DATA")
    await _hear(talk)
    talk.writer.write(b"Subject: report\r\n\r\n")
    for start in range(0, size, CHUNK):
        talk.writer.write((b"m" * 76 + b"\r\n") * (min(CHUNK, size - start) // 78 + 1))
        await talk.writer.drain()
    await talk.say(".")
    await _hear(talk)


@benign("mail-read", tool="asyncio")
async def read(ctx, per_min):
    """IMAP: a program that polls every few minutes, or one that waits in IDLE for up to half an hour. About 2 flows."""
    waits = ctx.rng.random() < 0.5
    user, password = ctx.rng.choice(ctx.site.users)

    async def session(one):
        server = _server(one)
        if server is None:
            return
        found = await find(one, server)
        tls = one.host.seed % 4 != 0
        async with conversation(one, found, _port(server, "imaps" if tls else "imap"), tls=tls) as talk:
            await talk.hear()
            if not tls and one.host.seed % 8 == 0:
                await _command(talk, "STARTTLS")
                await talk.encrypt()
            if one.rng.random() < 0.04:
                await _command(talk, f'LOGIN {user} "{password}x"')
            await _command(talk, f'LOGIN {user} "{password}"')
            await _command(talk, 'LIST "" "*"')
            answer = await _command(talk, "SELECT INBOX")
            count = next((int(line.split(" ")[1]) for line in answer if line.endswith("EXISTS")), 0)
            await _command(talk, f"FETCH {max(1, count - one.rng.randint(0, 30))}:{max(1, count)} (FLAGS ENVELOPE)")
            for _ in range(one.rng.choice((0, 0, 1, 2, 6)) if count else 0):
                await _command(talk, f"FETCH {one.rng.randint(1, count)} BODY[]")
                await one.sleep(one.rng.expovariate(1 / 8))
            if waits:
                await _idle(one, talk)
            await _command(talk, "LOGOUT")

    await (sessions if waits else jobs)(ctx, per_min, 2, session)


async def _command(talk, text):
    """One command; gives its untagged answers."""
    await talk.say(f"a1 {text}")
    heard = []
    while not (line := await talk.hear()).startswith("a1 "):
        heard.append(line)
    return heard


async def _idle(ctx, talk):
    """Waits for news in spells of at most some minutes, as RFC 2177 tells clients to."""
    spell_s = ctx.rng.choice((60, 300, 540, 1500))
    for _ in range(ctx.rng.randint(1, 6)):
        if ctx.left_s < 10:
            return
        await talk.say("a1 IDLE")
        news = asyncio.ensure_future(_news(talk))
        try:
            await ctx.sleep(min(spell_s, log_uniform(ctx.rng, 20, 1500), ctx.left_s - 5))
            await talk.say("DONE")
            await asyncio.wait({news}, timeout=30)
        finally:
            news.cancel()


async def _news(talk):
    with contextlib.suppress(OSError, EOFError):
        while not (await talk.hear(3600)).startswith("a1 "):
            pass
