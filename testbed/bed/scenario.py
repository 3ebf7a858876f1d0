"""A scenario: what a TOML file says about one site. Owns the file's grammar; never draws a random number."""

import math
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

SPLITS = ("train", "validate", "test", "none")


# Most of what a wire carries is benign. Sites for training say less, to have enough of the rest.
BENIGN_SHARE = 0.97
# A hostile episode of fewer flows shows nothing.
FLOWS_MIN = 12


class ScenarioError(Exception):
    """What is wrong with a scenario file, and where."""


@dataclass
class HostGroup:
    """`count` hosts alike: one namespace each, `addresses` IPv4 addresses in it."""

    name: str
    zone: str  # lan or wan
    role: str  # server, client, visitor (from outside), infected (a client that also attacks), attacker
    services: list  # names, or tables {name = ..., option = ...}
    count: int = 1
    addresses: int = 1
    ipv6: bool = True


@dataclass
class Benign:
    """One behaviour of many hosts: `per_min` flows a minute, all hosts together."""

    behaviour: str
    hosts: str  # a role or a host name, comma-separated
    per_min: float
    options: dict


@dataclass
class Hostile:
    """One behaviour, `episodes` times: each at most `flows` flows and `seconds` seconds, from one host."""

    behaviour: str
    hosts: str
    episodes: int
    flows: int
    seconds: float
    options: dict


@dataclass
class Part:
    """A file of `scenarios/parts`: behaviours that several sites share, how much of them, and which not."""

    name: str
    benign: float = 1.0
    hostile: float = 1.0
    without: list = field(default_factory=list)


@dataclass
class Scenario:
    """One site's run."""

    name: str
    split: str
    minutes: float
    wall_minutes: float  # the run is cut when it has taken so long
    snaplen: int
    clock: str  # true, or skip-idle: packet time jumps over the time in which nobody speaks
    lan4: str
    lan6: str
    vlans: list
    hosts: list[HostGroup]
    benign: list[Benign]
    hostile: list[Hostile]
    path: dict
    stack: dict
    file: str = ""


PATH_DEFAULTS = {
    "lan_rtt_ms": [0.2, 1.5],
    "wan_rtt_ms": [5.0, 300.0],
    "jitter": [0.02, 0.3],  # share of the delay
    "loss": [0.0, 0.01],
    "reorder": [0.0, 0.003],
    "lan_mbps": [100, 1000],
    "wan_mbps": [8, 300],
    "queue_ms": [50, 300],
    "hops": [4, 18],
}
STACK_DEFAULTS = {
    "ttl": [64, 64, 128, 255],
    "congestion": ["cubic", "reno"],
    "window_scaling": [1, 1, 1, 0],
    "timestamps": [1, 1, 0],
    "sack": [1, 1, 0],
    "mss": [1460, 1460, 1440, 1380, 1300, 1220],
    "rmem_kib": [64, 128, 256, 1024, 4096],
}


def load(path: Path) -> Scenario:
    """Reads and checks a scenario."""
    try:
        document = tomllib.loads(path.read_text())
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise ScenarioError(f"{path}: {error}") from error
    site = _table(document, "site", path, {"name", "split", "minutes", "snaplen", "clock", "wall_minutes", "lan4", "lan6",
                                             "vlans", "benign_share"})
    scenario = Scenario(
        name=_need(site, "name", path),
        split=site.get("split", "none"),
        minutes=float(_need(site, "minutes", path)),
        wall_minutes=float(site.get("wall_minutes", 1.2 * site["minutes"] + 1)),
        snaplen=int(site.get("snaplen", 96)),
        clock=site.get("clock", "true"),
        lan4=_need(site, "lan4", path),
        lan6=site.get("lan6", ""),
        vlans=site.get("vlans", [0]),
        hosts=[],
        benign=[],
        hostile=[],
        path=PATH_DEFAULTS | _table(document, "path", path, set(PATH_DEFAULTS)),
        stack=STACK_DEFAULTS | _table(document, "stack", path, set(STACK_DEFAULTS)),
        file=path.name,
    )
    if scenario.split not in SPLITS:
        raise ScenarioError(f"{path}: site.split = {scenario.split!r}: expected one of {', '.join(SPLITS)}")
    if scenario.clock not in ("true", "skip-idle"):
        raise ScenarioError(f"{path}: site.clock = {scenario.clock!r}: expected true or skip-idle")
    for entry in document.get("host", []):
        scenario.hosts.append(_build(HostGroup, {"services": []} | entry, path, "host"))
    _behaviours(scenario, document, path)
    for entry in document.get("part", []):
        part = _build(Part, entry, path, "part")
        part_path = path.parent / "parts" / f"{part.name}.toml"
        try:
            behaviours = tomllib.loads(part_path.read_text())
        except (OSError, tomllib.TOMLDecodeError) as error:
            raise ScenarioError(f"{part_path}: {error}") from error
        _behaviours(scenario, behaviours, part_path, part)
    unknown = set(document) - {"site", "path", "stack", "host", "part", "benign", "hostile"}
    if unknown:
        raise ScenarioError(f"{path}: unknown table {sorted(unknown)[0]!r}")
    _balance(scenario, float(site.get("benign_share", BENIGN_SHARE)))
    return scenario


def _behaviours(scenario, document, path, part=None):
    """The [[benign]] and [[hostile]] tables of a file; a part's are scaled, and some left out."""
    for entry in document.get("benign", []):
        entry = dict(entry)
        known = {key: entry.pop(key, default) for key, default in
                 (("behaviour", None), ("hosts", "client,infected"), ("per_min", 10.0))}
        found = _build(Benign, known | {"options": entry}, path, "benign")
        if part:
            found.per_min *= part.benign
        if found.per_min > 0 and not (part and found.behaviour in part.without):
            scenario.benign.append(found)
    for entry in document.get("hostile", []):
        entry = dict(entry)
        known = {key: entry.pop(key, default) for key, default in
                 (("behaviour", None), ("hosts", "attacker"), ("episodes", 1), ("flows", 200), ("seconds", 120.0))}
        found = _build(Hostile, known | {"options": entry}, path, "hostile")
        if part:
            found.episodes = math.ceil(found.episodes * part.hostile)
        if found.episodes > 0 and not (part and found.behaviour in part.without):
            scenario.hostile.append(found)


def _balance(scenario, share):
    """Scales the size of hostile episodes so that about `share` of the flows will be benign; 0 leaves them as written."""
    benign = sum(entry.per_min for entry in scenario.benign) * scenario.minutes
    hostile = sum(entry.episodes * entry.flows for entry in scenario.hostile)
    if share <= 0 or hostile == 0:
        return
    factor = benign * (1 - share) / share / hostile
    for entry in scenario.hostile:
        entry.flows = max(FLOWS_MIN, round(entry.flows * factor))


def _need(table, key, path):
    if key not in table:
        raise ScenarioError(f"{path}: [site] needs {key!r}")
    return table[key]


def _table(document, name, path, known):
    table = document.get(name, {})
    unknown = set(table) - known
    if unknown:
        raise ScenarioError(f"{path}: [{name}] has an unknown key {sorted(unknown)[0]!r}; known: {', '.join(sorted(known))}")
    return table


def _build(kind, values, path, what):
    try:
        return kind(**values)
    except TypeError as error:
        raise ScenarioError(f"{path}: [[{what}]]: {error}") from error
