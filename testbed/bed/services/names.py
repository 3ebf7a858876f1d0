"""Names: the company's resolver and the internet's name servers, both dnsmasq.

Owns: who is called what. In: the site's plan. Out: A, AAAA, PTR, MX, TXT and SRV records; NXDOMAIN for all else.
`*.cdn.example` is every WAN web server. A WAN host with a DNS service of its own (DELEGATED) is asked for its whole
domain, an iodine server for the tunnel's domain.
"""

from ..catalog import service
from .tunnels import dns_tunnel

DELEGATED = ("c2-dns", "sink")


@service("resolver")
async def resolver(svc):
    """The LAN's resolver: knows the company's own names, asks the internet for the rest."""
    lines = [
        f"cache-size={svc.rng.choice((0, 150, 1000, 5000))}",
        f"local=/{svc.site.domain}/",
        f"domain={svc.site.domain}",
        f"local=/{svc.site.lan4[0].reverse_pointer.split('.', 2)[2]}/",
        f"neg-ttl={svc.rng.choice((10, 60, 300))}",
        "filterwin2k" if svc.rng.random() < 0.3 else "domain-needed",
    ]
    lines += [f"server={host.address}" for host in svc.site.servers("internet-dns")]
    lines += [_record(host) for host in svc.site.hosts if host.zone == "lan"]
    for host in svc.site.servers("mail", "lan"):
        lines += [f"mx-host={svc.site.domain},{host.fqdn},10", f"srv-host=_imap._tcp.{svc.site.domain},{host.fqdn},143"]
    for host in svc.site.servers("sip", "lan"):
        lines.append(f"srv-host=_sip._udp.{svc.site.domain},{host.fqdn},5060")
    await _start(svc, lines)


@service("internet-dns")
async def internet_dns(svc):
    """Every name of the internet; the top level is `example`."""
    rng, wan = svc.rng, [h for h in svc.site.hosts if h.zone == "wan"]
    ttl = rng.choice((5, 30, 60, 300))
    lines = [f"local-ttl={ttl}", "cache-size=0", f"max-ttl={ttl * 10}", "address=/#/"]
    lines += [_record(host) for host in wan]
    web = [h for h in wan if h.offers("nginx")]
    for host in web:
        lines += [f"address=/cdn.example/{a}" for a in (host.address, host.address6) if a]
        lines.append(f"cname=www.{host.fqdn},{host.fqdn}")
    for host in wan:
        lines.append(f'txt-record={host.domain},"v=spf1 ip4:{host.address}{" include:_spf.example" * rng.randint(0, 6)} -all"')
        if host.offers("mail"):
            lines.append(f"mx-host={host.domain},{host.fqdn},{rng.choice((5, 10, 20))}")
        if any(host.offers(name) for name in DELEGATED):
            lines.append(f"server=/{host.domain}/{host.address}")
        if host.offers("dns-tunnel"):
            lines.append(f"server=/{dns_tunnel(host, svc.site).domain}/{host.address}")
    lines += [f'txt-record=key{n}._domainkey.cdn.example,"v=DKIM1; k=rsa; p={"A" * rng.randint(100, 230)}"' for n in range(6)]
    await _start(svc, lines)


def _record(host):
    six = f",{host.address6}" if host.address6 else ""
    return f"host-record={host.fqdn},{host.address}{six}"


async def _start(svc, lines):
    path = svc.directory / "dnsmasq.conf"
    path.write_text(
        "\n".join(
            [
                "no-resolv",
                "no-hosts",
                "user=root",
                "no-daemon",
                f"pid-file={svc.directory}/pid",
                "dns-forward-max=2000",
                f"edns-packet-max={svc.rng.choice((1232, 4096))}",
                *lines,
            ]
        )
        + "\n"
    )
    await svc.spawn(["dnsmasq", f"--conf-file={path}"])
    await svc.ready(53)
