"""Shells and copies by people and by schedulers: SSH typed and scripted, SFTP, rsync.

Owns: those behaviours, and a key of each host that its people trust. In: sshd and rsyncd hosts, the company's accounts.
Out: SSH and rsync flows of all lengths; half of the hosts use OpenSSH's own programs, half asyncssh.
"""

import asyncio
import contextlib
import subprocess
from pathlib import Path

import asyncssh

from ..catalog import benign
from ..draws import log_uniform
from .people import find, jobs, sessions

_COMMANDS = (
    "ls -la /etc",
    "ps",
    "uptime",
    "df",
    "cat /etc/hosts",
    "id",
    "date",
    "ls -R /usr/share/doc | head -200",
    "free",
    "echo done",
    "cat /etc/services",
    "find /usr/lib -maxdepth 2 | head -500",
    "w",
    "head -c 3000 /dev/zero | od",
)
# Every client and every server of the site can speak the first.
_CIPHERS = (["aes128-ctr"], ["aes256-gcm@openssh.com", "aes128-ctr"], ["chacha20-poly1305@openssh.com", "aes128-ctr"], ())
FAULTS = (asyncssh.Error,)
OPENSSH = (
    "-F",
    "/dev/null",
    "-o",
    "StrictHostKeyChecking=no",
    "-o",
    "UserKnownHostsFile=/dev/null",
    "-o",
    "BatchMode=yes",
    "-o",
    "ConnectTimeout=20",
    "-o",
    "LogLevel=ERROR",
)


def login(ctx, found, port, user, password):
    """An asyncssh connection with the habits of the host's client. Without a password: with the host's key."""
    habits = ctx.host.seed
    options = {"encryption_algs": list(_CIPHERS[habits % 4])} if _CIPHERS[habits % 4] else {}
    options |= {"password": password, "client_keys": None} if password else {"client_keys": [str(key_of(ctx, user))]}
    return asyncssh.connect(
        found,
        port,
        username=user,
        known_hosts=None,
        config=None,
        agent_path=None,
        preferred_auth=["password" if password else "publickey"],
        keepalive_interval=(0, 15, 60)[habits % 3],
        connect_timeout=20,
        login_timeout=60,
        client_version=("OpenSSH_9.2p1", "PuTTY_Release_0.81", "OpenSSH_8.9p1")[habits // 7 % 3],
        server_host_key_algs=["ssh-ed25519", "ecdsa-sha2-nistp256", "rsa-sha2-256"],
        gss_host=None,
        **options,
    )


def key_of(ctx, user):
    """This host's private key, which the account's home trusts from now on."""
    path = ctx.directory / "id"
    if not path.exists():
        key = asyncssh.generate_private_key(ctx.rng.choice(("ssh-ed25519", "ssh-ed25519", "ecdsa-sha2-nistp256")))
        key.write_private_key(path)
        key.write_public_key(ctx.directory / "id.pub")
        path.chmod(0o600)
    trusted = ctx.directory.parent / "accounts" / "home" / user / ".ssh" / "authorized_keys"
    public = (ctx.directory / "id.pub").read_text()
    trusted.parent.mkdir(exist_ok=True)
    if not trusted.exists() or public not in trusted.read_text():
        with open(trusted, "a") as file:
            file.write(public)
    return path


def _openssh(ctx, port, user, *, port_flag="-p"):
    """Options of OpenSSH's programs as this host's people set them."""
    habits = ctx.host.seed
    return [
        *OPENSSH,
        "-i",
        key_of(ctx, user),
        port_flag,
        str(port),
        "-o",
        f"ServerAliveInterval={(0, 30, 60)[habits % 3]}",
        *(["-C"] if habits % 5 == 0 else []),
        *(["-c", ",".join(_CIPHERS[habits % 4])] if _CIPHERS[habits % 4] else []),
    ]


def _server(ctx):
    servers = ctx.peers("sshd")
    inside = [h for h in servers if h.zone == "lan"]
    return ctx.rng.choice(inside if inside and ctx.rng.random() < 0.7 else servers) if servers else None


def _as(session):
    """A session in which what asyncssh calls an error is network trouble."""

    async def call(one):
        try:
            await session(one)
        except FAULTS as error:
            raise OSError(str(error)) from error

    return call


@benign("ssh-interactive", tool="asyncssh")
async def interactive(ctx, per_min):
    """Somebody types at a shell: keys with human gaps, output, pauses to think, one to fifteen minutes. About 2 flows."""

    async def session(one):
        server = _server(one)
        if server is None:
            return
        user, password = one.rng.choice(one.site.users)
        found, port = await find(one, server), server.port("sshd", 22)
        if one.host.seed % 2:
            await _type_openssh(one, found, port, user)
            return
        if one.rng.random() < 0.1:
            # A mistyped password first.
            try:
                async with login(one, found, port, user, password[:-1] + "#"):
                    pass
            except FAULTS:
                await one.sleep(one.rng.uniform(1, 6))
        async with login(one, found, port, user, password) as shell:
            await _type(one, shell)

    await sessions(ctx, per_min, 2, _as(session), most=4)


async def _type(ctx, connection):
    process = await connection.create_process(term_type="xterm", term_size=(80, 24))

    async def read():
        with contextlib.suppress(*FAULTS, OSError):
            while await process.stdout.read(65536):
                pass

    reading = asyncio.ensure_future(read())
    try:
        await _keys(ctx, process.stdin.write, reading.done)
    finally:
        reading.cancel()
        process.close()


async def _type_openssh(ctx, found, port, user):
    start_us = ctx.now_us()
    process = await ctx.start(["ssh", "-tt", *_openssh(ctx, port, user), f"{user}@{found}"], stdin=subprocess.PIPE)
    try:
        await ctx.sleep(1.5)
        await _keys(ctx, lambda text: process.stdin.write(text.encode()), lambda: process.returncode is not None)
    finally:
        process.stdin.close()
        if process.returncode is None:
            process.terminate()
        await process.wait()
        ctx.window([(found, str(port), "tcp")], start_us)


async def _keys(ctx, write, over):
    """Types commands key by key, with thoughts between, until somebody has had enough or the shell is gone."""
    end_s = min(log_uniform(ctx.rng, 40, 900), max(ctx.left_s - 5, 5))
    started_us = ctx.now_us()
    key_s, think_s = ctx.rng.uniform(0.06, 0.3), log_uniform(ctx.rng, 3, 40)
    while (ctx.now_us() - started_us) / 1e6 < end_s and not over():
        for key in ctx.rng.choice(_COMMANDS) + "\n":
            if over():
                return
            write(key)
            await ctx.sleep(ctx.rng.expovariate(1 / key_s))
        await ctx.sleep(min(ctx.rng.lognormvariate(0, 1) * think_s, 240))
    if not over():
        write("exit\n")
        await ctx.sleep(0.5)


@benign("ssh-scripted", tool="asyncssh")
async def scripted(ctx, per_min):
    """Configuration management: every so often some commands on several servers, one login each. About 4 flows a round."""
    servers = ctx.peers("sshd", "lan") or ctx.peers("sshd")
    wide = ctx.rng.randint(1, max(1, min(6, len(servers))))
    together, keys = ctx.rng.random() < 0.5, ctx.rng.random() < 0.6

    async def round_of(one):
        user, password = one.site.users[one.host.seed % len(one.site.users)]

        async def visit(server):
            try:
                async with login(
                    one, await find(one, server), server.port("sshd", 22), user, None if keys else password
                ) as shell:
                    for _ in range(one.rng.randint(1, 6)):
                        await shell.run(one.rng.choice(_COMMANDS), timeout=20)
            except (*FAULTS, OSError):
                pass

        chosen = one.rng.sample(servers, min(wide, len(servers)))
        if together:
            await asyncio.gather(*(visit(server) for server in chosen))
        else:
            for server in chosen:
                await visit(server)

    await jobs(ctx, per_min, 3, round_of)


@benign("scp-sftp", tool="asyncssh")
async def sftp(ctx, per_min):
    """Files over SFTP, up and down, 1 kB to 10 MB; some sit idle afterwards. About 2 flows a session."""

    async def session(one):
        server = _server(one)
        if server is None:
            return
        user, password = one.rng.choice(one.site.users)
        if one.host.seed % 2:
            await _scp(one, await find(one, server), server.port("sshd", 22), user)
            return
        async with (
            login(one, await find(one, server), server.port("sshd", 22), user, password) as shell,
            shell.start_sftp_client() as files,
        ):
            await files.listdir("/etc")
            for number in range(one.rng.choice((1, 1, 2, 8))):
                size, name = (
                    round(log_uniform(one.rng, 1_000, 10_000_000)),
                    f"/tmp/{one.host.name}-{one.rng.getrandbits(32):x}-{number}",
                )
                async with files.open(name, "wb") as file:
                    for start in range(0, size, 262_144):
                        await file.write(bytes(min(262_144, size - start)))
                if one.rng.random() < 0.5:
                    async with files.open(name, "rb") as file:
                        while await file.read(262_144):
                            pass
                await files.remove(name)
                await one.sleep(one.rng.expovariate(1 / 4))
            await one.sleep(one.rng.choice((0, 0, 10, 90)))

    await sessions(ctx, per_min, 2, _as(session), most=3)


async def _scp(ctx, found, port, user):
    """The same with OpenSSH's scp: one connection a file."""
    path = ctx.directory / f"scp-{ctx.rng.getrandbits(32):x}"
    there = f"{user}@{f'[{found}]' if ':' in found else found}:/tmp/{path.name}"
    try:
        for number in range(ctx.rng.choice((1, 1, 2, 5))):
            with open(path, "wb") as file:
                file.truncate(round(log_uniform(ctx.rng, 1_000, 10_000_000)))
            ends = [there, path] if number and ctx.rng.random() < 0.5 else [path, there]
            limit = ctx.rng.choice(([], [], ["-l", "8000"]))
            await ctx.run(
                ["scp", "-q", *limit, *_openssh(ctx, port, user, port_flag="-P"), *ends],
                to=[(found, str(port), "tcp")],
                timeout_s=90,
            )
            await ctx.sleep(ctx.rng.expovariate(1 / 5))
    finally:
        path.unlink(missing_ok=True)
        Path("/tmp", path.name).unlink(missing_ok=True)


@benign("rsync-backup", tool="rsync")
async def rsync(ctx, per_min):
    """rsync of a changing folder to and from a daemon, on a schedule. One flow a run, up to 20 MB."""
    folder = ctx.directory / "documents"
    folder.mkdir(exist_ok=True)
    for number in range(ctx.rng.randint(5, 60)):
        (folder / f"{number}.doc").write_bytes(ctx.rng.randbytes(min(int(ctx.rng.lognormvariate(9.5, 1.5)), 300_000)))

    async def run(one):
        servers = one.peers("rsyncd")
        if not servers:
            return
        server = one.rng.choice(servers)
        found = await find(one, server)
        for path in one.rng.sample(sorted(folder.iterdir()), 3):
            path.write_bytes(one.rng.randbytes(min(int(one.rng.lognormvariate(10, 1.5)), 2_000_000)))
        port = server.port("rsyncd", 873)
        remote = f"rsync://{f'[{found}]' if ':' in found else found}:{port}/backup/"
        options = one.rng.choice(("-a", "-az", "-aW", "-ac"))
        limit = one.rng.choice(([], [], ["--bwlimit=300"], ["--bwlimit=2000"]))
        ends = [f"{folder}/", f"{remote}{one.host.name}/"] if one.rng.random() < 0.7 else [remote, f"{one.directory}/mirror/"]
        await one.run(["rsync", options, *limit, "--timeout=60", *ends], to=[(found, str(port), "tcp")], timeout_s=180)

    await jobs(ctx, per_min, 2, run)
