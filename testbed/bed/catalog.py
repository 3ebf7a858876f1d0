"""The catalogue: every behaviour and service by name, registered by decorators.

    @benign("web-browse", tool="aiohttp")
    async def browse(ctx, per_min, **options): ...      # runs until cancelled at the end of the run

    @hostile("ssh-guess-hydra", label="brute-force", tool="hydra", technique="T1110.001")
    async def guess(ctx, flows, seconds, **options): ... # one episode within both bounds

    @service("nginx")
    async def nginx(svc): ...                            # starts programs of `svc.host`, returns when they answer
"""

import importlib
import pkgutil
from dataclasses import dataclass, replace
from typing import Callable

from .truth import CLASSES

BEHAVIOURS: dict[str, "Behaviour"] = {}
SERVICES: dict[str, Callable] = {}
# Modules that need a package that is not installed: small scenarios do without them.
MISSING: dict[str, str] = {}


@dataclass(frozen=True)
class Behaviour:
    """A behaviour: its name, its class, the tool it runs and the ATT&CK technique it shows."""

    name: str
    label: str
    tool: str
    technique: str
    call: Callable

    def variant(self, *, name=None, tool=None, technique=None):
        """The same behaviour under another name, tool or technique, for one piece of traffic."""
        return replace(self, name=name or self.name, tool=tool or self.tool, technique=technique or self.technique)


def benign(name, *, tool):
    """Registers a benign behaviour."""
    return lambda call: _add(Behaviour(name, "benign", tool, "", call))


def hostile(name, *, label, tool, technique):
    """Registers a hostile behaviour of a class of `truth.CLASSES`."""
    assert label in CLASSES and label != "benign", label
    return lambda call: _add(Behaviour(name, label, tool, technique, call))


def service(name):
    """Registers a service."""
    def add(call):
        assert name not in SERVICES, name
        SERVICES[name] = call
        return call
    return add


def _add(behaviour):
    assert behaviour.name not in BEHAVIOURS, behaviour.name
    BEHAVIOURS[behaviour.name] = behaviour
    return behaviour.call


def load():
    """Imports every module of the services, benign and hostile packages."""
    for package in ("services", "benign", "hostile"):
        root = importlib.import_module(f"{__package__}.{package}")
        for module in pkgutil.iter_modules(root.__path__):
            try:
                importlib.import_module(f"{root.__name__}.{module.name}")
            except ModuleNotFoundError as error:
                if error.name.startswith("bed"):
                    raise
                MISSING[f"{package}/{module.name}"] = error.name
