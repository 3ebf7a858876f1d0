"""The command: `python3 -m bed run SCENARIO --out DIR`, `python3 -m bed list`."""

import argparse
import os
import sys
from pathlib import Path

from . import catalog, run, scenario
from .wire import WireError

HERE = Path(__file__).resolve().parent.parent


def main():
    """Parses the command line."""
    parser = argparse.ArgumentParser(prog="bed", description="labelled traffic of a small company, in network namespaces")
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("run", help="run one site (started by testbed/run, inside its own namespaces)")
    one.add_argument("scenario", type=Path)
    one.add_argument("--out", type=Path, required=True)
    one.add_argument("--seed", type=int, help="default: another one each time; it stands in run.json")
    one.add_argument("--minutes", type=float, help="packet time, instead of the scenario's")
    one.add_argument("--wire", type=Path, default=HERE.parent / "target/release/tapline-wire")
    commands.add_parser("list", help="list behaviours and services")
    commands.add_parser("check", help="check scenarios").add_argument("scenarios", type=Path, nargs="+")
    arguments = parser.parse_args()
    try:
        if arguments.command == "list":
            catalog.load()
            for each in sorted(catalog.BEHAVIOURS.values(), key=lambda b: (b.label, b.name)):
                print(f"{each.label:12} {each.name:28} {each.technique:11} {each.tool}")
            print("services:", ", ".join(sorted(catalog.SERVICES)))
            return 0
        catalog.load()
        for path in arguments.scenarios if arguments.command == "check" else [arguments.scenario]:
            loaded = scenario.load(path)
            check(loaded, path)
        if arguments.command == "run":
            arguments.out = arguments.out.resolve()
            report = run.main(arguments, loaded)
            print(f"site {report['site']}: {sum(report['truth_rows'].values())} truth rows, "
                  f"{sum(report['failures'].values())} failures, {report['wall_s']:.0f} s", file=sys.stderr, flush=True)
            # Threads of libraries may still wait for something; the namespaces end with this process.
            os._exit(0)
        return 0
    except (scenario.ScenarioError, WireError, OSError) as error:
        print(f"bed: {error}", file=sys.stderr)
        return 1


def check(loaded, path):
    """Refuses a scenario that names what does not exist."""
    for group in loaded.hosts:
        for each in group.services:
            name = each if isinstance(each, str) else each["name"]
            if name not in catalog.SERVICES:
                raise scenario.ScenarioError(f"{path}: host {group.name!r} names an unknown service {name!r}{missing()}")
    for entry, kind in [(b, "benign") for b in loaded.benign] + [(h, "hostile") for h in loaded.hostile]:
        found = catalog.BEHAVIOURS.get(entry.behaviour)
        if found is None or (found.label == "benign") != (kind == "benign"):
            raise scenario.ScenarioError(f"{path}: [[{kind}]] names an unknown {kind} behaviour {entry.behaviour!r}{missing()}")


def missing():
    """What could not be loaded, if anything."""
    if not catalog.MISSING:
        return ""
    return "; not loaded: " + ", ".join(f"{module} (needs {name})" for module, name in catalog.MISSING.items())


if __name__ == "__main__":
    sys.exit(main())
