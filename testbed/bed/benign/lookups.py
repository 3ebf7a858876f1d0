"""DNS that looks strange and is not: block lists, TXT records, long names of CDNs, hash lookups of virus scanners.

Owns: UDP questions to the site's resolver. Never carries data in names for anybody. In: flows a minute. Out: questions.
"""

import asyncio
import ipaddress

from ..catalog import benign
from ..draws import log_uniform

LISTS = ("zen.blocks.cdn.example", "dnsbl.lists.example", "bl.spam.example", "multi.uribl.example", "rbl.mail.example")


@benign("dns-blocklists", tool="dnslib")
async def dns_blocklists(ctx, per_min):
    """A mail server's work for each incoming mail: PTR, MX, SPF, DKIM, DMARC, several block lists; many NXDOMAIN."""
    lists = ctx.rng.sample(LISTS, ctx.rng.randrange(2, len(LISTS) + 1))
    per_mail = len(lists) + 4
    async for _ in ctx.poisson(per_min / per_mail):
        sender = ipaddress.ip_address(ctx.rng.getrandbits(32))
        domain = ctx.rng.choice(_domains(ctx))
        reverse = ".".join(reversed(str(sender).split(".")))
        questions = [(f"{reverse}.{each}", "A") for each in lists]
        questions += [(sender.reverse_pointer, "PTR"), (domain, "TXT"), (f"_dmarc.{domain}", "TXT"),
                      (f"key{ctx.rng.randrange(8)}._domainkey.cdn.example", "TXT")]
        if ctx.rng.random() < 0.5:
            await asyncio.gather(*(ctx.resolve(name, kind) for name, kind in questions))
        else:
            for name, kind in questions:
                await ctx.resolve(name, kind)


def _domains(ctx):
    return [h.domain for h in ctx.site.hosts if h.zone == "wan"] or ["nobody.example"]


@benign("dns-txt", tool="dnslib")
async def dns_txt(ctx, per_min):
    """TXT lookups in bursts: SPF chains, ACME challenges, keys."""
    burst = ctx.rng.choice([2, 5, 12])
    async for _ in ctx.poisson(per_min / burst):
        domain = ctx.rng.choice(_domains(ctx))
        for _ in range(ctx.rng.randrange(1, 2 * burst)):
            name = ctx.rng.choice([domain, f"_acme-challenge.{domain}", f"key{ctx.rng.randrange(9)}._domainkey.cdn.example",
                                   f"_spf{ctx.rng.randrange(5)}.{domain}", f"{ctx.rng.randbytes(8).hex()}.{domain}"])
            await ctx.resolve(name, "TXT")
            await ctx.sleep(ctx.rng.expovariate(1 / 0.2))


@benign("dns-hash-lookups", tool="dnslib")
async def dns_hash_lookups(ctx, per_min):
    """A virus scanner or a CDN: long names of random letters under one zone, singly or in bursts; short answers."""
    zone = ctx.rng.choice(["avqs.cdn.example", "telemetry.cdn.example", "sig.lookup.example", "edge.cdn.example"])
    labels, size = ctx.rng.choice([1, 2, 3]), ctx.rng.choice([8, 16, 26])
    burst, kind, gap_s = ctx.rng.choice([1, 3, 20]), ctx.rng.choice(["A", "A", "TXT", "AAAA"]), log_uniform(ctx.rng, 0.02, 2)
    async for _ in ctx.poisson(per_min / burst):
        for _ in range(burst):
            name = ".".join(ctx.rng.randbytes(size).hex() for _ in range(labels))
            await ctx.resolve(f"{name}.{zone}", kind)
            await ctx.sleep(ctx.rng.expovariate(1 / gap_s))
