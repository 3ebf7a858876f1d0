"""A mail server: SMTP (25, 587) and IMAP (143, 993) over mailboxes that live in memory.

Owns: four TCP ports. Never relays: what is not for an account is accepted and dropped. In: a JSON file of settings.
Out: enough of RFC 5321, 4954, 3207, 3501 and 2177 for mail programs and password guessers.
"""

import asyncio
import base64
import json
import random
import re
import ssl
import sys
from dataclasses import dataclass, field

MESSAGE_MAX = 40 << 20
BOX_MAX = 400


@dataclass
class Mailbox:
    """Sizes of messages (their text is made up when fetched), and who waits for more."""

    sizes: list
    watchers: set = field(default_factory=set)

    def deliver(self, size):
        """Adds a message and tells those who IDLE."""
        self.sizes.append(size)
        del self.sizes[:-BOX_MAX]
        for watcher in self.watchers:
            watcher.set()


class Server:
    """Settings and mailboxes."""

    def __init__(self, settings):
        self.settings, self.users = settings, settings["users"]
        self.rng = random.Random(settings["seed"])
        self.boxes = {
            user: Mailbox([min(int(self.rng.lognormvariate(9, 1.4)), 5_000_000) for _ in range(self.rng.randint(5, 120))])
            for user in self.users
        }
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.tls.load_cert_chain(settings["certificate"], settings["key"])

    async def login(self, user, password):
        """Checks a password; a wrong one takes a while."""
        good = self.users.get(user.split("@")[0]) == password
        await asyncio.sleep(0.01 if good else self.settings["failed_delay_s"])
        return good


class Conversation:
    """One connection of a line protocol."""

    def __init__(self, server, reader, writer, encrypted=False):
        self.server, self.settings = server, server.settings
        self.reader, self.writer, self.encrypted = reader, writer, encrypted
        self.failed = 0

    async def run(self):
        """Talks until the end."""
        try:
            await asyncio.sleep(self.settings["greeting_delay_s"])
            await self.talk()
        except (OSError, ValueError, LookupError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            self.writer.close()

    async def line(self):
        """The next line without its end; raises at the end of the stream."""
        text = await asyncio.wait_for(self.reader.readuntil(b"\n"), self.settings["idle_s"])
        return text.rstrip(b"\r\n").decode("latin-1")

    async def say(self, *lines):
        """Sends lines."""
        self.writer.write("".join(f"{each}\r\n" for each in lines).encode("latin-1"))
        await self.writer.drain()

    async def encrypt(self):
        """Starts TLS on this connection."""
        await self.writer.start_tls(self.server.tls)
        self.encrypted = True


class Smtp(Conversation):
    """A sender's conversation."""

    async def talk(self):
        name, recipients, user = self.settings["name"], [], None
        await self.say(f"220 {name} ESMTP")
        while True:
            line = await self.line()
            verb, _, rest = line.partition(" ")
            verb = verb.upper()
            if verb == "EHLO":
                await self.say(
                    f"250-{name}",
                    "250-PIPELINING",
                    f"250-SIZE {MESSAGE_MAX}",
                    "250-8BITMIME",
                    *([] if self.encrypted else ["250-STARTTLS"]),
                    "250 AUTH PLAIN LOGIN",
                )
            elif verb == "HELO":
                await self.say(f"250 {name}")
            elif verb == "STARTTLS" and not self.encrypted:
                await self.say("220 go ahead")
                await self.encrypt()
            elif verb == "AUTH":
                user = await self._auth(rest)
                if user is None and self.failed >= self.settings["tries"]:
                    return
            elif verb == "MAIL":
                recipients = []
                await self.say("250 ok")
            elif verb == "RCPT":
                recipients.append(re.sub(r".*<([^@>]*).*", r"\1", rest))
                await self.say("250 ok")
            elif verb == "DATA":
                await self.say("354 end with a dot")
                await self._data(recipients)
            elif verb == "QUIT":
                await self.say("221 bye")
                return
            else:
                await self.say("250 ok" if verb in ("RSET", "NOOP") else "502 unknown command")

    async def _auth(self, rest):
        kind, _, first = rest.partition(" ")
        if kind.upper() == "PLAIN":
            if not first:
                await self.say("334 ")
                first = await self.line()
            _, user, password = base64.b64decode(first).decode("latin-1").split("\0")
        else:
            if not first:
                await self.say("334 VXNlcm5hbWU6")
                first = await self.line()
            user = base64.b64decode(first).decode("latin-1")
            await self.say("334 UGFzc3dvcmQ6")
            password = base64.b64decode(await self.line()).decode("latin-1")
        if await self.server.login(user, password):
            await self.say("235 accepted")
            return user
        self.failed += 1
        await self.say("535 authentication failed")
        return None

    async def _data(self, recipients):
        size, tail = 0, b"\r\n"
        while size < MESSAGE_MAX:
            chunk = await asyncio.wait_for(self.reader.read(65536), 120)
            if not chunk:
                raise OSError("the sender went away")
            size += len(chunk)
            tail = (tail + chunk)[-5:]
            if tail == b"\r\n.\r\n":
                break
        for user in recipients:
            if user in self.server.boxes:
                self.server.boxes[user].deliver(size)
        await self.say("250 queued")


class Imap(Conversation):
    """A reader's conversation."""

    async def talk(self):
        self.box = None
        await self.say(f"* OK [CAPABILITY IMAP4rev1 {'' if self.encrypted else 'STARTTLS '}IDLE AUTH=PLAIN] ready")
        while True:
            tag, _, rest = (await self.line()).partition(" ")
            verb, _, rest = rest.partition(" ")
            uid = verb.upper() == "UID"
            if uid:
                verb, _, rest = rest.partition(" ")
            answer = getattr(self, f"do_{verb.lower()}", None)
            if answer is None or self.box is None and verb.upper() in ("FETCH", "STORE", "SEARCH", "IDLE", "SELECT"):
                await self.say(f"{tag} BAD not now")
            elif await answer(tag, rest):
                return

    async def do_capability(self, tag, _rest):
        await self.say("* CAPABILITY IMAP4rev1 IDLE AUTH=PLAIN", f"{tag} OK done")

    async def do_noop(self, tag, _rest):
        await self.say(*([f"* {len(self.box.sizes)} EXISTS"] if self.box else []), f"{tag} OK done")

    do_check = do_close = do_store = do_expunge = do_noop

    async def do_id(self, tag, _rest):
        await self.say('* ID ("name" "testbed")', f"{tag} OK done")

    async def do_starttls(self, tag, _rest):
        await self.say(f"{tag} OK begin")
        await self.encrypt()

    async def do_login(self, tag, rest):
        words = re.findall(r'"((?:[^"\\]|\\.)*)"|(\S+)', rest)
        user, password = (quoted or bare for quoted, bare in words[:2])
        return await self._enter(tag, user, password)

    async def do_authenticate(self, tag, rest):
        first = rest.partition(" ")[2]
        if not first:
            await self.say("+ ")
            first = await self.line()
        _, user, password = base64.b64decode(first).decode("latin-1").split("\0")
        return await self._enter(tag, user, password)

    async def _enter(self, tag, user, password):
        if await self.server.login(user, password):
            self.box = self.server.boxes[user.split("@")[0]]
            await self.say(f"{tag} OK logged in")
            return False
        self.failed += 1
        await self.say(f"{tag} NO [AUTHENTICATIONFAILED] failed")
        return self.failed >= self.settings["tries"]

    async def do_list(self, tag, _rest):
        await self.say(
            *(f'* LIST (\\HasNoChildren) "/" "{name}"' for name in ("INBOX", "Sent", "Drafts", "Trash", "Archive")),
            f"{tag} OK done",
        )

    do_lsub = do_list

    async def do_status(self, tag, rest):
        await self.say(
            f"* STATUS {rest.split(' ')[0]} (MESSAGES {len(self.box.sizes) if self.box else 0} UNSEEN 1)", f"{tag} OK done"
        )

    async def do_select(self, tag, _rest):
        await self.say(
            f"* {len(self.box.sizes)} EXISTS",
            "* 0 RECENT",
            "* FLAGS (\\Seen \\Deleted)",
            "* OK [UIDVALIDITY 1]",
            f"{tag} OK [READ-WRITE] done",
        )

    do_examine = do_select

    async def do_search(self, tag, _rest):
        await self.say("* SEARCH " + " ".join(str(n + 1) for n in range(len(self.box.sizes))), f"{tag} OK done")

    async def do_fetch(self, tag, rest):
        which, _, items = rest.partition(" ")
        first, _, last = which.partition(":")
        count = len(self.box.sizes)
        low = int(first) if first.isdigit() else count
        high = low if not last else int(last) if last.isdigit() else count
        for number in range(max(low, 1), min(high, count) + 1):
            size = self.box.sizes[number - 1]
            if "BODY" in items.upper() and "HEADER" not in items.upper():
                self.writer.write(f"* {number} FETCH (UID {number} BODY[] {{{size}}}\r\n".encode() + b"m" * size + b")\r\n")
            else:
                self.writer.write(
                    f'* {number} FETCH (UID {number} RFC822.SIZE {size} FLAGS (\\Seen) ENVELOPE ("{"h" * (40 + size % 200)}"))\r\n'.encode()
                )
            await self.writer.drain()
        await self.say(f"{tag} OK done")

    async def do_idle(self, tag, _rest):
        await self.say("+ idling")
        done = asyncio.ensure_future(self.line())
        news = asyncio.Event()
        self.box.watchers.add(news)
        try:
            while not done.done():
                told = asyncio.ensure_future(news.wait())
                await asyncio.wait(
                    {done, told}, timeout=self.settings["still_here_s"] or None, return_when=asyncio.FIRST_COMPLETED
                )
                told.cancel()
                if done.done():
                    break
                if news.is_set():
                    news.clear()
                    await self.say(f"* {len(self.box.sizes)} EXISTS")
                else:
                    await self.say("* OK Still here")
            done.result()
        finally:
            done.cancel()
            self.box.watchers.discard(news)
        await self.say(f"{tag} OK done")

    async def do_logout(self, tag, _rest):
        await self.say("* BYE bye", f"{tag} OK done")
        return True


async def main(path):
    """Serves until it is ended."""
    with open(path) as file:
        settings = json.load(file)
    server = Server(settings)

    def of(kind, encrypted=False):
        return lambda reader, writer: kind(server, reader, writer, encrypted).run()

    for port, kind, tls in (("smtp", Smtp, None), ("submission", Smtp, None), ("imaps", Imap, server.tls), ("imap", Imap, None)):
        await asyncio.start_server(of(kind, tls is not None), None, settings[port], ssl=tls, limit=1 << 18)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
