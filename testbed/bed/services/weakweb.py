"""A deliberately weak web application: real SQL injection on a database in memory, reflected scripts, look-alikes of path
traversal, command injection and a web shell.

Owns: its tables and its made-up files. Never executes a command, never reads or writes a file: what looks like it is text
from a table. In: HTTP on `port` (8080), HTTPS on `tls_port` (8443). Out: pages whose sizes and delays differ per site.
"""

import asyncio
import hashlib
import html
import json
import random
import sqlite3
import sys
import time

from ..catalog import service
from .certificates import certificate, server_context
from .small_http import Reply, serve

# What directory guessing finds now and then; each site has some of them.
PATHS = ("admin admin/login administrator api api/v1 api/v2 app archive assets auth backup backups bin blog cache cart cgi-bin "
         "checkout cms config console contact content core cron css dashboard data database db debug demo dev dist doc docs "
         "download downloads dump editor email error export feed files fonts forum ftp home images img import inc include "
         "index.php info install internal intranet js json lib local log login logs mail manage manager media member misc "
         "monitor new news node_modules old orders panel phpmyadmin phpinfo.php plugins portal private products profile "
         "public readme reports resources robots.txt rss scripts search secret secure server-status services setup shop "
         "sitemap.xml sql src staff staging static stats status storage store swagger swagger.json system temp templates "
         "test tests themes tmp tools upload uploads user users util v1 v2 vendor web webmail wiki wp-admin wp-content "
         "wp-login.php xmlrpc.php .env .git .git/config .git/HEAD .htaccess .svn .well-known/security.txt").split()
_WORDS = ("lorem ipsum order invoice stock price quality steel paper garden winter summer delivery customer return catalogue "
          "green small large metal wooden plastic engine bearing filter valve pump cable screw panel sensor").split()


@service("weakweb")
async def weakweb(svc):
    """HTTP and HTTPS; TLS, delays, page sizes and the tree differ per site."""
    key, chain = await certificate(svc)
    settings = {"seed": svc.rng.getrandbits(40), "port": svc.port(8080), "tls_port": int(svc.options.get("tls_port", 8443)),
                "key": key, "chain": chain, "users": svc.site.users}
    (svc.directory / "settings.json").write_text(json.dumps(settings))
    await svc.python("weakweb", svc.directory / "settings.json")
    await svc.ready(settings["port"])


class Application:
    """The pages."""

    def __init__(self, settings):
        self.rng = rng = random.Random(settings["seed"])
        self.users = dict(settings["users"])
        self.latency_s = rng.choice((0.0, 0.002, 0.01, 0.03))
        self.header = "<!doctype html><title>shop</title>" + self._text(rng.randrange(100, 3000))
        self.missing = self._text(rng.choice((0, 120, 300, 1200, 4000, 15000)))
        self.tree = {name: rng.choice((200, 200, 301, 403, 401)) for name in rng.sample(PATHS, rng.randrange(12, 45))}
        self.uploads = {}
        self.files = {"etc/passwd": "root:x:0:0:root:/root:/bin/bash\n" + "".join(f"{u}:x:2{n:04}:100::/home/{u}:/bin/sh\n"
                                                                                for n, u in enumerate(self.users)),
                      "windows/win.ini": "; for 16-bit app support\r\n[fonts]\r\n[extensions]\r\n",
                      "etc/hosts": "127.0.0.1 localhost\n", "manual.pdf": self._text(rng.randrange(20_000, 200_000))}
        self.table = self._database()
        self.chunked = rng.random() < 0.4
        self.routes = {"/": self.index, "/login": self.login, "/search": self.search, "/item": self.item, "/hello": self.hello,
                       "/download": self.download, "/ping": self.ping, "/upload": self.upload, "/comment": self.comment}

    async def answer(self, request):
        """One request, one reply."""
        route = self.routes.get(request.path)
        if route:
            reply = route(request)
        elif request.path.startswith("/uploads/"):
            reply = self.uploaded(request)
        elif request.path.startswith("/api/v1/"):
            reply = self.api(request)
        else:
            reply = self.other(request)
        reply.delay_s = self.latency_s * self.rng.uniform(0.5, 2)
        reply.chunked = reply.chunked or self.chunked and len(reply.body) > 2000
        reply.headers.setdefault("Content-Type", "text/html; charset=utf-8")
        return reply

    def index(self, _request):
        links = "".join(f"<a href=/item?id={n}>{n}</a> " for n in range(1, 40))
        return self._page(links + "<form action=/search><input name=q></form><a href=/login>login</a>")

    def login(self, request):
        if request.method != "POST":
            return self._page("<form method=post><input name=user><input name=password type=password></form>")
        form = request.form()
        if self.users.get(form.get("user")) == form.get("password") and form.get("user"):
            token = hashlib.sha256(form["user"].encode()).hexdigest()
            return Reply(302, b"", {"Location": "/", "Set-Cookie": f"session={token}; HttpOnly"})
        return self._page("<p>wrong user or password</p>", 200 if self.chunked else 401)

    def search(self, request):
        return self._query(f"SELECT id, name, price FROM products WHERE name LIKE '%{request.query.get('q', '')}%' LIMIT 50")

    def item(self, request):
        return self._query(f"SELECT id, name, price, about FROM products WHERE id = {request.query.get('id', '0')}")

    def hello(self, request):
        return self._page(f"<h1>Hello {request.query.get('name', 'you')}</h1>")

    def comment(self, request):
        return self._page(f"<blockquote>{request.form().get('text', '')[:4000]}</blockquote>")

    def download(self, request):
        name = request.query.get("file", "").replace("\\", "/").replace("../", "").lstrip("./")
        found = self.files.get(name)
        return Reply(200, found.encode(), {"Content-Type": "application/octet-stream"}) if found else self._page("no such file", 404)

    def ping(self, request):
        host = request.query.get("host", "")
        told = f"PING {host[:100]} 56(84) bytes of data.\n" + "64 bytes: icmp_seq=1 ttl=64\n" * 4
        return self._page(f"<pre>{html.escape(told + self._shell(host))}</pre>")

    def upload(self, request):
        if len(self.uploads) < 256:
            self.uploads[f"f{len(self.uploads)}.php"] = request.size
        return Reply(201, json.dumps({"stored": request.size, "name": f"f{len(self.uploads) - 1}.php"}).encode())

    def uploaded(self, request):
        asked = request.query.get("cmd") or request.form().get("cmd", "")
        return Reply(200, self._shell(";" + asked).encode()) if asked else self._page("")

    def api(self, request):
        parts = request.path.split("/")[3:]
        number = int(parts[1]) if len(parts) > 1 and parts[1].isdigit() else 0
        if parts[0] not in ("users", "orders", "products") or not 0 < number <= 400:
            return Reply(404, b'{"error": "not found"}', {"Content-Type": "application/json"})
        body = {"id": number, "kind": parts[0], "text": self._text(number * 37 % 900)}
        return Reply(200, json.dumps(body).encode(), {"Content-Type": "application/json"})

    def other(self, request):
        status = self.tree.get(request.path.strip("/"), 404)
        if status == 404:
            return Reply(404, self.missing.encode())
        extra = {"Location": request.path + "/"} if status == 301 else {}
        return Reply(status, self._text(len(request.path) * 131 % 3000).encode(), extra)

    def _page(self, text, status=200):
        return Reply(status, (self.header + text).encode())

    def _query(self, sql):
        deadline = time.monotonic() + 0.05
        self.table.set_progress_handler(lambda: time.monotonic() > deadline, 2000)
        try:
            rows = self.table.execute(sql).fetchmany(200)
        except (sqlite3.Error, sqlite3.Warning, ValueError) as error:
            return self._page(f"<p>database error: {html.escape(str(error))}</p>", 500)
        return self._page("<table>" + "".join(f"<tr><td>{'<td>'.join(map(str, row))}" for row in rows) + "</table>")

    def _shell(self, text):
        """What a shell might have printed: a number of made-up lines that depends on the text alone."""
        if not any(mark in text for mark in ";|&`$"):
            return ""
        digest = random.Random(text)
        return "\n".join(" ".join(digest.choices(_WORDS, k=6)) for _ in range(int(digest.paretovariate(0.8)) % 400))

    def _text(self, length):
        return " ".join(self.rng.choices(_WORDS, k=length // 7 + 1))[:length]

    def _database(self):
        table = sqlite3.connect(":memory:")
        table.executescript("CREATE TABLE products(id INTEGER, name TEXT, price REAL, about TEXT);"
                            "CREATE TABLE users(id INTEGER, name TEXT, password TEXT, email TEXT);")
        table.executemany("INSERT INTO products VALUES(?,?,?,?)", [
            (n, " ".join(self.rng.sample(_WORDS, 2)), self.rng.randrange(999) / 10, self._text(self.rng.randrange(400)))
            for n in range(1, self.rng.randrange(60, 400))])
        table.executemany("INSERT INTO users VALUES(?,?,?,?)", [
            (n, u, hashlib.md5(p.encode()).hexdigest(), f"{u}@shop.test") for n, (u, p) in enumerate(self.users.items())])
        table.commit()
        table.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 1_000_000)
        # Reading is all that an injected statement may do: no file is attached, no table changed.
        allowed = (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE)
        table.set_authorizer(lambda action, *_: sqlite3.SQLITE_OK if action in allowed else sqlite3.SQLITE_DENY)
        return table


async def main(settings):
    """Serves until it is ended."""
    application = Application(settings)
    rng = application.rng
    same = {"idle_s": rng.choice((5, 15, 30, 65, 120)), "most": rng.choice((20, 100, 1000)), "server": rng.choice(("Apache", "nginx", "httpd/2.2"))}
    await serve(settings["port"], application.answer, **same)
    await serve(settings["tls_port"], application.answer, tls=server_context(settings, rng), **same)
    await asyncio.Event().wait()


if __name__ == "__main__":
    with open(sys.argv[1]) as file:
        asyncio.run(main(json.load(file)))
