"""Crawlers and load tests: many pages of one server in a short time, wanted by its owner or by a search engine.

Owns: clients of `nginx`. Never posts. In: flows a minute. Out: series of requests.
"""

import contextlib

from ..catalog import benign
from ..draws import log_uniform
from ..tls import unverified
from .pace import NETWORK_ERRORS, address_of, connected, http, need, tls_port

AGENTS = ("Mozilla/5.0 (compatible; findbot/2.1; +http://bot.example/)", "searchbot/1.0",
          "Mozilla/5.0 (Linux; Android 14) mobilebot/3", "archive-crawler/9")


@benign("crawler", tool="asyncio")
async def crawler(ctx, per_min):
    """A search engine's crawler: hundreds of pages, politely or not, on kept connections or one for each page."""
    await _crawls(ctx, per_min, need(ctx, "nginx", "lan" if ctx.host.zone == "wan" else None), "GET", ctx.rng.choice(AGENTS))


@benign("link-checker", tool="asyncio")
async def link_checker(ctx, per_min):
    """The company's own link checker: HEAD requests over its site, some of them dead links."""
    await _crawls(ctx, per_min, need(ctx, "nginx", "lan"), "HEAD", "linkchecker/10.2")


async def _crawls(ctx, per_min, hosts, method, agent):
    burst = max(1, round(min(log_uniform(ctx.rng, 5, 80), per_min * ctx.left_s / 120 + 1)))  # connections in one crawl
    async for _ in ctx.poisson(per_min / burst):
        host, gap_s, width = ctx.rng.choice(hosts), log_uniform(ctx.rng, 0.01, 3), ctx.rng.choice([1, 1, 2, 6])
        pages = ctx.rng.choice([1, 1, 4, 20, 60])  # on one connection
        for number in range(width):
            ctx.spawn(_crawl(ctx, host, method, agent, (burst + number) // width, pages, gap_s))


async def _crawl(ctx, host, method, agent, connections, pages, gap_s):
    secure, tls = ctx.rng.random() < 0.5, unverified()
    address = address_of(ctx, host)
    for _ in range(connections):
        with contextlib.suppress(*NETWORK_ERRORS, ValueError):
            async with connected(address, tls_port(host) if secure else host.port("nginx", 80),
                                 tls=tls if secure else None) as (reader, writer):
                for number in range(pages):
                    await http(reader, writer, method, _path(ctx.rng), host.fqdn, headers=f"User-Agent: {agent}\r\n",
                               close=number == pages - 1)
                    await ctx.sleep(ctx.rng.expovariate(1 / gap_s))


def _path(rng):
    kind = rng.random()
    if kind < 0.75:
        return f"/p/{rng.randrange(60)}.html"
    return rng.choice(["/", "/robots.txt", "/sitemap.xml", f"/old/{rng.randrange(999)}", "/favicon.ico"])


@benign("load-test", tool="ab")
async def load_test(ctx, per_min, service="nginx"):
    """A tester's bounded load on a staging server, with ab or siege; the connections of one test count as flows."""
    hosts = need(ctx, service, "lan")
    while ctx.left_s > 15 and per_min > 0:
        host, requests = ctx.rng.choice(hosts), int(log_uniform(ctx.rng, 30, 400))
        pause_s = requests * 60 / per_min
        await ctx.sleep(min(pause_s * ctx.rng.random(), max(ctx.left_s - 12, 1)))
        port = host.port(service, 8000 if service == "api" else 80)
        path = f"/p/{ctx.rng.randrange(9)}.html" if service == "nginx" else "/v1/load?size=400"
        tool, argv = _load(ctx.rng, requests, f"http://{host.address}:{port}{path}")
        await ctx.run(argv, to=[(host.address, port, "tcp")], timeout_s=min(30, max(ctx.left_s - 2, 1)),
                      what=ctx.what.variant(tool=tool), env={"HOME": str(ctx.directory)})
        await ctx.sleep(min(pause_s * ctx.rng.uniform(0.4, 0.6), max(ctx.left_s - 1, 0)))


def _load(rng, requests, url):
    width, tool = rng.choice([1, 2, 5, 10, 25]), rng.choice(["ab", "ab", "siege"])
    if tool == "ab":
        return tool, ["ab", "-n", max(requests, width), "-c", width, "-q", *(["-k"] if rng.random() < 0.2 else []), url]
    return tool, ["siege", "-q", "--no-parser", "-c", width, "-r", max(requests // width, 1),
                  *rng.choice([["-b"], ["-d", "0.2"]]), url]
