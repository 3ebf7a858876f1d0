"""Web servers: nginx (with a small application behind it), DNS over HTTPS, WebSocket chat, HTTP/3.

Owns: their configuration, certificates and seeded trees of pages. In: a service context. Out: servers that answer.
Pages: /p/N.html, assets /a/..., files /f/SIZE (any number of digits; powers of two and 1-2-5 steps are exact), /app/...
(slow dynamic answers), /upload (POST and PUT, the body is read and dropped).
"""

from ..catalog import service
from . import certificates

_TYPES = (("css", 1_000, 60_000), ("js", 1_000, 200_000), ("png", 200, 40_000), ("jpg", 3_000, 200_000), ("woff2", 9_000, 60_000))


@service("nginx")
async def nginx(svc):
    """Options: port (80), tls_port (443), pages."""
    pages = svc.directory / "www"
    tree(svc, pages, int(svc.options.get("pages", svc.rng.randint(12, 60))))
    key, certificate = await certificates.certificate(svc)
    await svc.python("webapp", "--socket", svc.directory / "app.socket", "--seed", svc.host.seed)
    await _start(svc, pages, certificate, key, svc.port(80), int(svc.options.get("tls_port", 443)))


@service("doh")
async def doh(svc):
    """DNS over HTTPS on `port` (443): asks the internet's names directly."""
    key, certificate = await certificates.certificate(svc)
    names = svc.site.servers("internet-dns") or svc.site.servers("resolver")
    await svc.python("webapp", "--socket", svc.directory / "app.socket", "--seed", svc.host.seed, "--dns", names[0].address)
    pages = svc.directory / "www"
    pages.mkdir(exist_ok=True)
    await _start(svc, pages, certificate, key, None, svc.port(443))


@service("websocket")
async def websocket(svc):
    """A chat over WebSocket on `port` (8765); options: tls (drawn)."""
    tls = svc.options.get("tls", False)
    extra = []
    if tls:
        key, certificate = await certificates.certificate(svc)
        extra = ["--certificate", certificate, "--key", key]
    await svc.python(
        "chat_server",
        "--port",
        svc.port(8765),
        "--seed",
        svc.host.seed,
        "--ping",
        svc.rng.choice((0, 10, 20, 25, 30, 45)),
        *extra,
    )
    await svc.ready(svc.port(8765))


@service("quic")
async def quic(svc):
    """HTTP/3 on UDP `port` (443)."""
    key, certificate = await certificates.certificate(svc)
    await svc.python(
        "quic_server",
        "--port",
        svc.port(443),
        "--certificate",
        certificate,
        "--key",
        key,
        "--seed",
        svc.host.seed,
        "--idle",
        svc.rng.choice((10, 20, 30, 60)),
        "--ready",
        svc.directory / "ready",
    )
    await svc.once(["sh", "-c", f"for n in $(seq 100); do test -e {svc.directory}/ready && exit 0; sleep 0.1; done; exit 1"])


def tree(svc, pages, count):
    """Writes pages that link to each other, to assets here and to assets on the cdn."""
    rng = svc.rng
    for folder in ("p", "a", "f"):
        (pages / folder).mkdir(parents=True, exist_ok=True)
    assets = [_asset(rng, pages, n) for n in range(rng.randint(20, 90))]
    common = rng.sample(assets, min(len(assets), rng.randint(2, 8)))
    for number in range(count):
        chosen = common + rng.sample(assets, min(len(assets), int(rng.expovariate(1 / 6))))
        elsewhere = [
            f"http{rng.choice(('', 's'))}://{rng.choice('abcd')}{rng.randrange(4)}.cdn.example{rng.choice(assets)}"
            for _ in range(rng.choice((0, 0, 0, 1, 2, 5)))
        ]
        tags = "".join(f'<img src="{each}">\n' for each in chosen + elsewhere)
        links = "".join(f'<a href="/p/{rng.randrange(count)}.html">more</a>\n' for _ in range(rng.randint(2, 15)))
        text = "lorem ipsum " * int(rng.lognormvariate(5.5, 1.2))
        (pages / "p" / f"{number}.html").write_text(
            f"<html><head><title>{number}</title></head><body>\n{tags}{links}<p>{text[:200_000]}</p></body></html>\n"
        )
    (pages / "index.html").write_text((pages / "p" / "0.html").read_text())
    (pages / "robots.txt").write_text("User-agent: *\nDisallow: /app/\n")
    (pages / "favicon.ico").write_bytes(rng.randbytes(rng.randint(300, 15_000)))
    for power in range(27):
        _sparse(pages / "f" / str(1 << power), 1 << power)
    for power in range(8):
        for first in (1, 2, 5):
            _sparse(pages / "f" / str(first * 10**power), first * 10**power)


def _asset(rng, pages, number):
    kind, low, high = rng.choice(_TYPES)
    path = f"/a/{number}-{rng.getrandbits(32):08x}.{kind}"
    _sparse(pages / path[1:], round(low * (high / low) ** rng.random()))
    return path


def _sparse(path, size):
    with open(path, "wb") as file:
        file.truncate(size)


async def _start(svc, pages, certificate, key, port, tls_port):
    rng, directory = svc.rng, svc.directory
    plain = f"listen {port}; listen [::]:{port};" if port else ""
    http2 = rng.choice(("http2", "http2", "")) if port else "http2"
    keepalive = rng.choice((5, 15, 30, 60, 65, 65, 75, 120))
    (directory / "nginx.conf").write_text(f"""
daemon off; user root; worker_processes 1; pid {directory}/nginx.pid; error_log {directory}/error.log crit;
events {{ worker_connections {rng.choice((512, 1024, 2048, 4096))}; }}
http {{
  types {{ text/html html; text/css css; application/javascript js; image/png png; image/jpeg jpg; }}
  default_type application/octet-stream; access_log off; sendfile on; tcp_nodelay on;
  server_tokens {rng.choice(("on", "off"))}; gzip {rng.choice(("on", "off"))};
  keepalive_timeout {keepalive}; keepalive_requests {rng.choice((50, 100, 1000))};
  client_header_timeout {rng.choice((10, 20, 30, 60))}; client_body_timeout {rng.choice((12, 30, 60))};
  send_timeout {rng.choice((10, 30, 60))}; reset_timedout_connection {rng.choice(("on", "off"))};
  client_max_body_size 0; client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fastcgi; uwsgi_temp_path {directory}/uwsgi; scgi_temp_path {directory}/scgi;
  ssl_certificate {certificate}; ssl_certificate_key {key};
  ssl_protocols TLSv1.2 {rng.choice(("TLSv1.3", "TLSv1.3", "TLSv1.3", ""))};
  ssl_session_tickets {rng.choice(("on", "off"))}; ssl_buffer_size {rng.choice(("4k", "16k"))};
  server {{
    {plain} listen {tls_port} ssl {http2}; listen [::]:{tls_port} ssl {http2};
    root {pages};
    location /f/ {{ {rng.choice(("", "", "limit_rate 2m;", "limit_rate_after 1m; limit_rate 400k;"))} try_files $uri @near; }}
    location @near {{
      rewrite "^/f/\\d{{1,2}}$" /f/64 break; rewrite "^/f/\\d{{3}}$" /f/500 break; rewrite "^/f/\\d{{4}}$" /f/5000 break;
      rewrite "^/f/\\d{{5}}$" /f/50000 break; rewrite "^/f/\\d{{6}}$" /f/500000 break; rewrite "^/f/\\d{{7}}$" /f/5000000 break;
      rewrite "^/f/\\d{{8}}$" /f/20000000 break; return 404; }}
    location ~ ^/(app/|upload|dns-query) {{
      proxy_pass http://unix:{directory}/app.socket; proxy_http_version 1.0; proxy_read_timeout 120;
      proxy_buffering {rng.choice(("on", "off"))}; }}
  }}
}}
""")
    await svc.spawn(["nginx", "-c", directory / "nginx.conf", "-p", directory])
    await svc.ready(port or tls_port)
