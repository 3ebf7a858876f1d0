"""Logins that fail without malice: people who forget, programs that were not told.

Owns: failing logins at `sshd`, `ftp`, `mail`, `api` and the databases. Never more than a person or a stubborn program
tries. In: flows a minute. Out: sessions that look like guessing.
"""

import base64
import contextlib

from ..catalog import benign
from ..draws import log_uniform
from ..services.databases import DATABASE
from .monitoring import ssh_command
from .pace import NETWORK_ERRORS, address_of, connected, every, http, periods


@benign("forgetful-user", tool="asyncio")
async def forgetful_user(ctx, per_min, services="sshd,ftp,mail,api"):
    """A person who tries one to six passwords and then knows the right one; tries share a connection where they may."""
    kinds = _offered(ctx, services)
    async for _ in ctx.poisson(per_min / 3):
        kind = ctx.rng.choice(kinds)
        host = ctx.rng.choice(ctx.peers(kind))
        user, password = ctx.rng.choice(ctx.site.users)
        tries = [_mistaken(ctx.rng, password) for _ in range(min(int(ctx.rng.expovariate(0.6)) + 1, 6))]
        if ctx.rng.random() < 0.9:
            tries.append(password)
        ctx.spawn(_try(ctx, kind, host, user, tries, log_uniform(ctx.rng, 1.5, 10)))


def _offered(ctx, services):
    kinds = [kind for kind in services.split(",") if ctx.peers(kind)]
    if not kinds:
        raise LookupError(f"{ctx.what.name} needs a host with one of {services}")
    return kinds


def _mistaken(rng, password):
    """What people type instead: another case, a digit too many, an old password."""
    return rng.choice([password.capitalize(), password[:-1], password + "1", password[::-1],
                       f"summer{rng.randrange(2015, 2026)}"])


async def _try(ctx, kind, host, user, tries, think_s):
    with contextlib.suppress(*NETWORK_ERRORS, ValueError):
        if kind == "sshd":
            for password in tries:
                await ssh_command(ctx, host, user, password, "true")
                await ctx.sleep(ctx.rng.expovariate(1 / think_s))
        elif kind == "api":
            await _try_http(ctx, host, user, tries, think_s)
        elif ctx.rng.random() < 0.5:
            await LOGINS[kind](ctx, host, user, tries, think_s)
        else:
            for password in tries:
                await LOGINS[kind](ctx, host, user, [password], think_s)
                await ctx.sleep(ctx.rng.expovariate(1 / think_s))


async def _try_http(ctx, host, user, tries, think_s):
    for password in tries:
        secret = base64.b64encode(f"{user}:{password}".encode()).decode()
        async with connected(address_of(ctx, host), host.port("api", 8000)) as (reader, writer):
            await http(reader, writer, "GET", "/admin/", host.fqdn, headers=f"Authorization: Basic {secret}\r\n", close=True)
        await ctx.sleep(ctx.rng.expovariate(1 / think_s))


async def _ftp(ctx, host, user, tries, think_s):
    async with connected(address_of(ctx, host), host.port("ftp", 21)) as (reader, writer):
        await reader.readline()
        for password in tries:
            for line in (f"USER {user}", f"PASS {password}"):
                writer.write(f"{line}\r\n".encode())
                answer = await reader.readline()
            if answer.startswith(b"230"):
                break
            await ctx.sleep(ctx.rng.expovariate(1 / think_s))
        writer.write(b"QUIT\r\n")
        await reader.readline()


async def _imap(ctx, host, user, tries, think_s):
    port = int(host.offers("mail").options.get("imap", 143))
    async with connected(address_of(ctx, host), port) as (reader, writer):
        await reader.readline()
        for number, password in enumerate(tries):
            writer.write(f"a{number} LOGIN {user} {password}\r\n".encode())
            answer = await _tagged(reader, b"a%d " % number)
            if b" OK" in answer:
                break
            await ctx.sleep(ctx.rng.expovariate(1 / think_s))
        writer.write(b"z LOGOUT\r\n")
        await _tagged(reader, b"z ")


async def _tagged(reader, tag):
    while line := await reader.readline():
        if line.startswith(tag):
            return line
    raise EOFError("the server closed")


LOGINS = {"ftp": _ftp, "mail": _imap}


@benign("stale-credentials", tool="asyncio")
async def stale_credentials(ctx, per_min, services="sshd,ftp,mail,postgres,mysql,api", low_s=15, high_s=180):
    """Programs that retry one old password each period for the whole run, on the same server."""
    kinds = _offered(ctx, services)

    async def program(period_s):
        kind = ctx.rng.choice(kinds)
        host, (user, password) = ctx.rng.choice(ctx.peers(kind)), ctx.rng.choice(ctx.site.users)
        old = f"{password}-{ctx.rng.randrange(2019, 2025)}"
        async for _ in every(ctx, period_s):
            if kind in ("postgres", "mysql"):
                await _database_login(ctx, kind, host, user, old)
            else:
                await _try(ctx, kind, host, user, [old], 0.1)

    for period_s in periods(ctx.rng, per_min, low_s, high_s):
        ctx.spawn(program(period_s))


async def _database_login(ctx, kind, host, user, password):
    if kind == "postgres":
        import asyncpg
        with contextlib.suppress(*NETWORK_ERRORS, asyncpg.PostgresError, asyncpg.InterfaceError):
            client = await asyncpg.connect(host=address_of(ctx, host), port=host.port(kind, 5432), user=user,
                                           password=password, database=DATABASE, timeout=15)
            client.terminate()
    else:
        import aiomysql
        import pymysql
        with contextlib.suppress(*NETWORK_ERRORS, pymysql.MySQLError, RuntimeError):
            client = await aiomysql.connect(host=address_of(ctx, host), port=host.port(kind, 3306), user=user,
                                            password=password, connect_timeout=15)
            client.close()
