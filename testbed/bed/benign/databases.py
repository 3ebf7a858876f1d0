"""Database work: pools, reconnect-per-query pages, reports, change feeds, caches.

Owns: clients of `postgres`, `mysql` and `redis`. Never guesses a password. In: flows a minute. Out: sessions.
"""

import asyncio
import contextlib

from ..catalog import benign
from ..draws import log_uniform
from ..services.databases import DATABASE, account, redis_password
from .pace import NETWORK_ERRORS, address_of, every, need, periods, sessions


@benign("postgres-pool", tool="asyncpg")
async def postgres_pool(ctx, per_min):
    """An application's persistent connections: short queries in bursts, then quiet."""
    host = ctx.rng.choice(need(ctx, "postgres"))

    async def session(lifetime_s):
        end_us = ctx.now_us() + lifetime_s * 1e6
        think_s = log_uniform(ctx.rng, 0.15, 8)
        with _lost_postgres():
            async with _postgres(ctx, host) as client:
                while ctx.now_us() < end_us:
                    for _ in range(ctx.rng.randrange(1, 8)):
                        await _postgres_query(ctx, client)
                    await ctx.sleep(ctx.rng.expovariate(1 / think_s))

    await sessions(ctx, per_min, session, 20, 600)


@benign("postgres-report", tool="asyncpg")
async def postgres_report(ctx, per_min):
    """A report: one connection, one large answer, read slowly or at once."""
    host = ctx.rng.choice(need(ctx, "postgres"))
    async for _ in ctx.poisson(per_min):
        rows = int(log_uniform(ctx.rng, 50, 6000))
        with _lost_postgres():
            async with _postgres(ctx, host) as client:
                if ctx.rng.random() < 0.5:
                    await client.fetch("SELECT * FROM orders LIMIT $1", rows)
                else:
                    async with client.transaction():
                        async for row in client.cursor("SELECT * FROM orders LIMIT $1", min(rows, 1500), prefetch=50):
                            if row["id"] % 50 == 0:
                                await ctx.sleep(ctx.rng.uniform(0.02, 0.5))


@benign("database-feed", tool="asyncpg")
async def database_feed(ctx, per_min):
    """A follower of changes: a connection for long, the server sends much and the client little."""
    host = ctx.rng.choice(need(ctx, "postgres"))

    async def session(lifetime_s):
        end_us = ctx.now_us() + lifetime_s * 1e6
        with _lost_postgres():
            async with _postgres(ctx, host) as client:
                async for _ in every(ctx, log_uniform(ctx.rng, 0.5, 20)):
                    await client.fetch("SELECT repeat(md5(random()::text), $1) FROM generate_series(1, $2)",
                                       ctx.rng.randrange(1, 20), ctx.rng.choice([0, 1, 3, 20, 100]))
                    if ctx.now_us() > end_us:
                        return

    await sessions(ctx, per_min, session, 60, 900)


def _lost_postgres():
    """Suppresses what ends a session with the server: a lost connection, a full server."""
    import asyncpg
    return contextlib.suppress(*NETWORK_ERRORS, asyncpg.PostgresError, asyncpg.InterfaceError)


@contextlib.asynccontextmanager
async def _postgres(ctx, host):
    import asyncpg
    user, password = account(ctx.site, host)
    client = await asyncpg.connect(host=address_of(ctx, host), port=host.port("postgres", 5432), user=user,
                                   password=password, database=DATABASE, timeout=20, command_timeout=60)
    try:
        yield client
    finally:
        # Some applications say goodbye, some just drop the connection.
        if ctx.rng.random() < 0.8:
            with _lost_postgres():
                await client.close(timeout=3)
        client.terminate()


async def _postgres_query(ctx, client):
    kind = ctx.rng.random()
    if kind < 0.5:
        await client.fetchrow("SELECT * FROM orders WHERE id = $1", ctx.rng.randrange(1, 5000))
    elif kind < 0.75:
        await client.fetch("SELECT id, total FROM orders WHERE customer = $1 LIMIT $2", ctx.rng.randrange(97),
                           ctx.rng.randrange(1, 60))
    elif kind < 0.9:
        await client.execute("INSERT INTO events (body) VALUES ($1)", "x" * ctx.rng.randrange(10, 800))
    else:
        await client.fetchval("SELECT sum(total) FROM orders")


@benign("mysql-web", tool="aiomysql")
async def mysql_web(ctx, per_min):
    """A web application that connects anew for each page: bursts of short connections."""
    host = ctx.rng.choice(need(ctx, "mysql"))
    burst = ctx.rng.choice([1, 2, 4, 8])
    async for _ in ctx.poisson(per_min / burst):
        for _ in range(ctx.rng.randrange(1, 2 * burst)):
            with _lost_mysql():
                async with _mysql(ctx, host) as client:
                    for _ in range(ctx.rng.randrange(1, 7)):
                        await _mysql_query(ctx, client)
            await ctx.sleep(ctx.rng.expovariate(1 / 0.3))


@benign("mysql-pool", tool="aiomysql")
async def mysql_pool(ctx, per_min):
    """A program's persistent connection with pings and queries."""
    host = ctx.rng.choice(need(ctx, "mysql"))

    async def session(lifetime_s):
        end_us = ctx.now_us() + lifetime_s * 1e6
        with _lost_mysql():
            async with _mysql(ctx, host) as client:
                async for _ in every(ctx, log_uniform(ctx.rng, 0.3, 25)):
                    await (client.ping(reconnect=False) if ctx.rng.random() < 0.3 else _mysql_query(ctx, client))
                    if ctx.now_us() > end_us:
                        return

    await sessions(ctx, per_min, session, 20, 600)


def _lost_mysql():
    """Suppresses what ends a session; aiomysql raises RuntimeError where the server closed within a packet."""
    import pymysql
    return contextlib.suppress(*NETWORK_ERRORS, pymysql.MySQLError, RuntimeError)


@contextlib.asynccontextmanager
async def _mysql(ctx, host):
    import aiomysql
    user, password = account(ctx.site, host)
    client = await aiomysql.connect(host=address_of(ctx, host), port=host.port("mysql", 3306), user=user,
                                    password=password, db=DATABASE, connect_timeout=15, autocommit=True)
    try:
        yield client
    finally:
        if ctx.rng.random() < 0.7 and not client.closed:
            with _lost_mysql():
                await asyncio.wait_for(client.ensure_closed(), 3)
        client.close()


async def _mysql_query(ctx, client):
    async with client.cursor() as cursor:
        if ctx.rng.random() < 0.85:
            await cursor.execute("SELECT * FROM pages WHERE id BETWEEN %s AND %s",
                                 (first := ctx.rng.randrange(400), first + ctx.rng.choice([0, 0, 1, 10, 40])))
            await cursor.fetchall()
        else:
            await cursor.execute("INSERT INTO visits (page, agent) VALUES (%s, %s)", (ctx.rng.randrange(400), "a" * 90))


@benign("redis-cache", tool="redis-py")
async def redis_cache(ctx, per_min):
    """A cache's client: a persistent connection with bursts of tiny commands, or one connection a request."""
    host = ctx.rng.choice(need(ctx, "redis"))
    short = ctx.rng.random() < 0.4

    async def session(lifetime_s):
        end_us = ctx.now_us() + lifetime_s * 1e6
        think_s = log_uniform(ctx.rng, 0.1, 5)
        async with _redis(ctx, host) as client:
            while True:
                for _ in range(ctx.rng.randrange(1, 10)):
                    await _redis_command(ctx, client)
                if short or ctx.now_us() > end_us:
                    return
                await ctx.sleep(ctx.rng.expovariate(1 / think_s))

    await sessions(ctx, per_min, session, 20, 500)


@benign("redis-subscribe", tool="redis-py")
async def redis_subscribe(ctx, per_min):
    """A queue's consumer: blocking pops that time out, again and again on one connection."""
    host = ctx.rng.choice(need(ctx, "redis"))

    async def session(lifetime_s):
        end_us = ctx.now_us() + lifetime_s * 1e6
        wait_s = ctx.rng.choice([1, 2, 5, 10, 30])
        async with _redis(ctx, host) as client:
            while ctx.now_us() < end_us:
                await client.blpop(["jobs"], timeout=wait_s)

    await sessions(ctx, per_min, session, 60, 900)


@contextlib.asynccontextmanager
async def _redis(ctx, host):
    import redis.asyncio
    import redis.exceptions
    client = redis.asyncio.Redis(host=address_of(ctx, host), port=host.port("redis", 6379), password=redis_password(host),
                                 socket_connect_timeout=10, socket_timeout=60, single_connection_client=True)
    with contextlib.suppress(*NETWORK_ERRORS, redis.exceptions.RedisError):
        try:
            yield client
        finally:
            await client.aclose()


async def _redis_command(ctx, client):
    key = f"session:{ctx.rng.randrange(500)}"
    kind = ctx.rng.random()
    if kind < 0.6:
        await client.get(key)
    elif kind < 0.85:
        await client.set(key, ctx.rng.randbytes(int(log_uniform(ctx.rng, 10, 8000))), ex=ctx.rng.randrange(5, 600))
    else:
        await client.incr("visits")


@benign("database-monitor", tool="asyncpg")
async def database_monitor(ctx, per_min):
    """A monitor that logs in to the database each period, asks one thing and leaves."""
    host = ctx.rng.choice(need(ctx, "postgres"))

    async def watch(period_s):
        async for _ in every(ctx, period_s):
            with _lost_postgres():
                async with _postgres(ctx, host) as client:
                    await client.fetchval("SELECT count(*) FROM pg_stat_activity")

    for period_s in periods(ctx.rng, per_min, 5, 300):
        ctx.spawn(watch(period_s))
