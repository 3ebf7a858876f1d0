"""A site's plan: every host's addresses, path and stack, drawn from one seed.

Owns: who exists and how far away. Never touches the machine. In: a scenario and a seed. Out: `Site`.
"""

import ipaddress
import random
from dataclasses import dataclass, field

# RFC 5737, RFC 3849 and RFC 2544: addresses that nobody owns.
INTERNET4 = ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "198.18.0.0/16", "198.19.0.0/16")
INTERNET6 = "2001:db8:f000::/36"
GATEWAY_MAC = "02:00:5e:00:00:01"
_FIRST = "ada ben cleo dan eva finn gus hana ivo jana kai lea max nora otto pia quin rosa sam tina uwe vera will yara zoe".split()
_WORDS = ("river", "stone", "amber", "delta", "falcon", "maple", "orbit", "prism", "quartz", "sierra", "tango", "velvet",
          "willow", "zephyr", "cobalt", "ember", "harbor", "indigo", "jasper", "lunar")


@dataclass
class Service:
    """A service that a host offers, as the scenario names it."""

    name: str
    options: dict


@dataclass
class Host:
    """One namespace: a host, or several addresses that share a stack."""

    name: str
    zone: str
    role: str
    services: list[Service]
    addresses4: list[str]
    addresses6: list[str]
    mac: str
    tap: str
    vlan: int
    path: dict  # up and down, as the switch reads them
    hops: int
    stack: dict
    domain: str
    seed: int
    machine: object = field(default=None, repr=False)  # the running namespace (namespaces.Machine)

    @property
    def address(self) -> str:
        """The primary IPv4 address, the one that programs use as their source."""
        return self.addresses4[0]

    @property
    def address6(self) -> str | None:
        """The primary IPv6 address."""
        return self.addresses6[0] if self.addresses6 else None

    @property
    def fqdn(self) -> str:
        """The host's name in the site's DNS."""
        return f"{self.name}.{self.domain}"

    def offers(self, service: str) -> Service | None:
        """The named service, if it runs here."""
        return next((each for each in self.services if each.name == service), None)

    def port(self, service: str, default: int) -> int:
        """The port of a service: the scenario's `port` option, or the usual one."""
        found = self.offers(service)
        return int(found.options.get("port", default)) if found else default


@dataclass
class Site:
    """Everything that was drawn for one run."""

    name: str
    seed: int
    run: str
    lan4: ipaddress.IPv4Network
    lan6: ipaddress.IPv6Network | None
    hosts: list[Host]
    users: list[tuple[str, str]]  # accounts of the company: name, password
    domain: str
    rng: random.Random

    def select(self, which: str) -> list[Host]:
        """Hosts by role or by name, comma-separated; `outside` and `inside` are attackers and infected clients."""
        names = [{"outside": "attacker", "inside": "infected"}.get(n.strip(), n.strip()) for n in which.split(",")]
        return [h for h in self.hosts if h.role in names or h.name in names or h.name.rstrip("0123456789") in names]

    def servers(self, service: str, zone: str | None = None) -> list[Host]:
        """Hosts that offer a service."""
        return [h for h in self.hosts if h.offers(service) and zone in (None, h.zone)]

    def dark4(self, rng: random.Random, count: int = 1) -> list[str]:
        """Addresses of the LAN that nobody has."""
        used = {a for h in self.hosts for a in h.addresses4}
        subnets = sorted({str(ipaddress.ip_network(f"{a}/24", strict=False)) for a in used
                          if ipaddress.ip_address(a) in self.lan4})
        found = []
        for _ in range(count * 20):
            network = ipaddress.ip_network(rng.choice(subnets))
            address = str(network[rng.randrange(1, 255)])
            if address not in used:
                found.append(address)
            if len(found) == count:
                break
        return found

    def dark_internet4(self, rng: random.Random, count: int = 1, network: str | None = None) -> list[str]:
        """Addresses of the internet (or of one of its networks) that nobody has."""
        used = {a for h in self.hosts for a in h.addresses4}
        found = []
        for _ in range(count * 20):
            chosen = ipaddress.ip_network(network or rng.choice(INTERNET4))
            address = str(chosen[rng.randrange(1, chosen.num_addresses - 1)])
            if address not in used:
                found.append(address)
            if len(found) == count:
                break
        return found


def draw(scenario, seed: int, run: str) -> Site:
    """Draws a site: the same scenario and seed give the same site."""
    rng = random.Random(f"{scenario.name}/{seed}")
    lan4 = ipaddress.ip_network(scenario.lan4)
    lan6 = ipaddress.ip_network(scenario.lan6) if scenario.lan6 else None
    domain = f"{rng.choice(_WORDS)}-{scenario.name}.test"
    users = []
    for name in rng.sample(_FIRST, 16):
        users.append((name, f"{rng.choice(_WORDS)}{rng.randrange(10, 9999)}"))
    site = Site(scenario.name, seed, run, lan4, lan6, [], users, domain, rng)
    used = set()
    # A few /24 of the LAN, so that servers, offices and plant have subnets of their own.
    subnets = list(lan4.subnets(new_prefix=24)) if lan4.prefixlen < 24 else [lan4]
    subnet_of = {}
    wan_nets = [ipaddress.ip_network(n) for n in INTERNET4]
    wan6 = ipaddress.ip_network(INTERNET6)

    def address4(zone, group):
        for _ in range(10_000):
            if zone == "lan":
                network = subnet_of.setdefault(group, rng.choice(subnets))
            else:
                network = rng.choice(wan_nets)
            address = str(network[rng.randrange(2, network.num_addresses - 1)])
            if address not in used:
                used.add(address)
                return address
        raise ValueError(f"no free address for {group}")

    def address6(zone):
        base = lan6 if zone == "lan" else wan6
        if base is None:
            return None
        return str(base[(rng.getrandbits(12) << 64) | rng.getrandbits(48)])

    vlan = rng.choice(scenario.vlans)  # one for the LAN: its hosts speak to each other without a router
    for group in scenario.hosts:
        for index in range(group.count):
            name = group.name if group.count == 1 else f"{group.name}{index + 1}"
            services = [Service(s, {}) if isinstance(s, str) else Service(s["name"], {k: v for k, v in s.items() if k != "name"})
                        for s in group.services]
            six = [a for a in (address6(group.zone) for _ in range(group.addresses)) if a] if group.ipv6 else []
            number = len(site.hosts) + 1
            lan = group.zone == "lan"
            site.hosts.append(Host(
                name=name, zone=group.zone, role=group.role, services=services,
                addresses4=[address4(group.zone, f"{group.zone}/{group.role}/{group.name}") for _ in range(group.addresses)],
                addresses6=six,
                mac="02:" + ":".join(f"{rng.randrange(256):02x}" for _ in range(5)),
                tap=f"tap{number}", vlan=vlan if lan else 0,
                path=_path(scenario.path, lan, rng), hops=0 if lan else rng.randint(*scenario.path["hops"]),
                stack={key: rng.choice(values) for key, values in scenario.stack.items()},
                domain=domain if lan else f"{rng.choice(_WORDS)}{number}.example",
                seed=rng.getrandbits(48),
            ))
    return site


def _path(path, lan, rng):
    low, high = path["lan_rtt_ms"] if lan else path["wan_rtt_ms"]
    # Log-uniform: near hosts are as many as far ones.
    rtt_us = 1000 * low * (high / low) ** rng.random()
    half = rtt_us / 2 * (0.5 if lan else 1.0)  # two LAN hosts share their round trip
    both = {}
    for direction in ("up", "down"):
        low_rate, high_rate = path["lan_mbps"] if lan else path["wan_mbps"]
        both[direction] = {
            "delay_us": round(half),
            "jitter_us": round(half * rng.uniform(*path["jitter"])),
            "loss": 0.0 if lan else round(rng.uniform(*path["loss"]) * rng.random() ** 2, 6),
            "reorder": 0.0 if lan else round(rng.uniform(*path["reorder"]) * rng.random() ** 2, 6),
            "rate_kbps": round(1000 * low_rate * (high_rate / low_rate) ** rng.random()),
            "queue_ms": round(rng.uniform(*path["queue_ms"])),
        }
    return both
