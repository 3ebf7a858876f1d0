"""File servers in daily use: FTP by scripts and people, SMB browsing and copying.

Owns: those behaviours. In: ftp and smb hosts, the company's accounts. Out: FTP control and data flows, SMB flows.
"""

import aioftp

from ..catalog import benign
from ..draws import log_uniform
from .people import find, jobs, sessions


@benign("ftp-transfer", tool="aioftp")
async def ftp(ctx, per_min):
    """Lists, downloads and uploads over passive FTP, 1 kB to 5 MB each. About 6 flows a session."""

    async def session(one):
        servers = one.peers("ftp")
        if not servers:
            return
        server = one.rng.choice(servers)
        user, password = one.rng.choice(one.site.users)
        client = aioftp.Client(socket_timeout=30, connection_timeout=15, path_timeout=30)
        found = await find(one, server)
        try:
            await client.connect(found, server.port("ftp", 21))
            if one.rng.random() < 0.08:
                try:
                    await client.login(user, "oops")
                except aioftp.StatusCodeError:
                    await one.sleep(one.rng.uniform(1, 5))
            await client.login(user, password)
            listed = [(path, int(info.get("size", 0))) for path, info in await client.list() if info.get("type") == "file"]
            for _ in range(one.rng.choice((1, 1, 2, 3, 6))):
                if listed and one.rng.random() < 0.6:
                    async with client.download_stream(one.rng.choice(listed)[0]) as stream:
                        async for _ in stream.iter_by_block(65536):
                            pass
                else:
                    name = f"{one.host.name}-{one.rng.randrange(5)}.dat"
                    async with client.upload_stream(name) as stream:
                        for _ in range(round(log_uniform(one.rng, 1_000, 5_000_000)) // 16384 + 1):
                            await stream.write(bytes(16384))
                await one.sleep(one.rng.expovariate(1 / 5))
            await client.quit()
        except aioftp.AIOFTPException as error:
            raise OSError(str(error)) from error
        finally:
            client.close()

    await (jobs if ctx.rng.random() < 0.4 else sessions)(ctx, per_min, 5, session)


@benign("smb-browse", tool="smbclient")
async def smb_browse(ctx, per_min):
    """Somebody looks through shares: lists shares and folders, with pauses. About 3 flows a session; a program each."""

    async def session(one):
        await _smb(
            one,
            ["ls", "ls *.pdf", "du", "pwd", "allinfo .", "volume"],
            one.rng.randint(1, 6),
            share=one.rng.choice(("files", "public", "IPC$", "")),
        )

    await sessions(ctx, per_min, 2.5, session, most=2)


@benign("smb-copy", tool="smbclient")
async def smb_copy(ctx, per_min):
    """Files of 1 kB to 8 MB to and from a share. About 2 flows a session; a program each."""

    async def session(one):
        path = one.directory / f"copy-{one.rng.getrandbits(32):x}"
        with open(path, "wb") as file:
            file.truncate(round(log_uniform(one.rng, 1_000, 8_000_000)))
        name = f"{one.host.name}-{one.rng.randrange(6)}.dat"
        try:
            await _smb(
                one,
                [f"put {path} {name}", f"get {name} /dev/null", "ls", f"rename {name} {name}.old"],
                one.rng.randint(1, 5),
                share="files",
            )
        finally:
            path.unlink(missing_ok=True)

    await (jobs if ctx.rng.random() < 0.3 else sessions)(ctx, per_min, 2.2, session)


async def _smb(ctx, commands, count, share):
    servers = ctx.peers("smb")
    if not servers:
        return
    server = ctx.rng.choice(servers)
    found, port = await find(ctx, server), server.port("smb", 445)
    user, password = ctx.rng.choice(ctx.site.users)
    if ctx.rng.random() < 0.06:
        password += "?"
    login = ["-U", f"{user}%{password}"] if share != "public" else ["-N"]
    command = ["-L", f"//{server.name}"] if not share else [f"//{server.name}/{share}"]
    pauses = ctx.rng.choice((0, 0, 1, 4, 15))
    process_input = None
    if share:
        lines = []
        for each in (ctx.rng.choice(commands) for _ in range(count)):
            lines.append(each)
            if pauses:
                lines.append(f"!sleep {min(ctx.rng.expovariate(1 / pauses), 60):.1f}")
        process_input = ("\n".join([*lines, "exit"]) + "\n").encode()
    await ctx.run(
        ["smbclient", *command, "-I", found, "-p", str(port), "-m", ctx.rng.choice(("SMB2", "SMB3")), *login],
        stdin=process_input,
        to=[(found, str(port), "tcp")],
        timeout_s=120,
    )
