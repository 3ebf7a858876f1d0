"""The switch of a site: writes its configuration, starts it, talks to it. What it does stands in testbed/wire."""

import asyncio
import json
import subprocess

from .plan import GATEWAY_MAC


class WireError(Exception):
    """Why the switch did not run."""


class Wire:
    """A running `tapline-wire`."""

    def __init__(self, program):
        self._program = program
        self._process = None
        self._answers = asyncio.Lock()

    @property
    def started(self) -> bool:
        """Whether `start` got as far as a process."""
        return self._process is not None

    async def start(self, site, span, snaplen, config_path):
        """Starts the switch; returns when its devices exist."""
        ports = [{"tap": h.tap, "mac": h.mac, "zone": h.zone, "hops": h.hops, "vlan": h.vlan, **h.path,
                  "prefixes": [f"{a}/32" for a in h.addresses4] + [f"{a}/128" for a in h.addresses6]} for h in site.hosts]
        config_path.write_text(json.dumps({
            "span": str(span), "snaplen": snaplen, "seed": site.seed % 2**63, "gateway_mac": GATEWAY_MAC,
            "lan": [str(site.lan4)] + ([str(site.lan6)] if site.lan6 else []), "ports": ports}, indent=1))
        self._process = await asyncio.create_subprocess_exec(
            # What delays the switch delays everybody, and falsifies the times: it goes before all other programs.
            "nice", "-n", "-10", self._program, str(config_path), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        line = await self._process.stdout.readline()
        if line.strip() != b"ready":
            raise WireError((await self._process.stderr.read()).decode(errors="replace").strip() or "the switch did not start")

    async def idle(self):
        """Microseconds since the last frame, and frames under way."""
        async with self._answers:
            self._process.stdin.write(b"idle\n")
            await self._process.stdin.drain()
            line = await self._process.stdout.readline()
        _, age_us, queued = line.split()
        return int(age_us), int(queued)

    async def advance(self, microseconds):
        """Moves packet time on."""
        async with self._answers:
            self._process.stdin.write(f"advance {microseconds}\n".encode())
            await self._process.stdin.drain()

    async def stop(self):
        """Ends the switch; gives its counters."""
        if self._process.returncode is not None:
            error = (await self._process.stderr.read()).decode(errors="replace").strip()
            raise WireError(f"the switch ended before its time: {error}")
        out, error = await self._process.communicate(b"stop\n")
        if self._process.returncode != 0:
            raise WireError(error.decode(errors="replace").strip())
        return json.loads(out.decode().strip().splitlines()[-1])
