"""Databases: PostgreSQL, MariaDB and Redis, each with the company's accounts and a small shop of data.

Owns: their private data folders (memory, gone with the host) and what they are filled with. Never runs a database as
root. In: a host and its seed. Out: `postgres` (5432), `mysql` (3306), `redis` (6379).
"""

import random
from pathlib import Path

from ..catalog import service

DATABASE = "shop"


def account(site, host):
    """The application's account on a database host: name and password, one of the company's."""
    return random.Random(f"{host.seed}/account").choice(site.users)


def redis_password(host):
    """Redis has a password on some hosts; None on the others."""
    rng = random.Random(f"{host.seed}/redis")
    return f"cache{rng.randrange(10**6)}" if rng.random() < 0.6 else None


@service("postgres")
async def postgres(svc):
    """PostgreSQL; options: port, rows."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1]
    home, port = "/var/lib/postgresql", svc.port(5432)
    await svc.once(["mount", "-t", "tmpfs", "-o", "mode=755,uid=postgres", "tmpfs", home])
    method = svc.rng.choice(["scram-sha-256", "md5"])
    await svc.once(_as("postgres", programs / "initdb", "-D", f"{home}/data", "--no-sync", "--wal-segsize=1", "-A", "trust",
                       "-U", "postgres", "--locale=C.UTF-8", "-E", "UTF8"))
    (svc.directory / "pg_hba.conf").write_text(
        f"local all all trust\nhost all all 0.0.0.0/0 {method}\nhost all all ::/0 {method}\n")
    await svc.once(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                    "-days", "900", "-subj", f"/CN={svc.host.fqdn}", "-keyout", "server.key", "-out", "server.crt"])
    for name in ("pg_hba.conf", "server.key", "server.crt"):
        await svc.once(["install", "-o", "postgres", "-m", "600", svc.directory / name, f"{home}/data/{name}"])
    settings = {
        "listen_addresses": "*", "port": port, "unix_socket_directories": home, "shared_buffers": "8MB",
        "max_connections": svc.rng.choice([40, 60, 100]), "fsync": "off", "max_wal_size": "16MB", "min_wal_size": "2MB",
        "jit": "off", "max_parallel_workers": 0, "autovacuum": "off", "password_encryption": method,
        "tcp_keepalives_idle": svc.rng.choice([0, 30, 60, 300]),
        "authentication_timeout": f"{svc.rng.choice([10, 30, 60])}s",
        "ssl": svc.rng.choice(["on", "off"]),
    }
    await svc.spawn(_as("postgres", programs / "postgres", "-D", f"{home}/data",
                        *(part for key, value in settings.items() for part in ("-c", f"{key}={value}"))))
    await svc.ready(port)
    (svc.directory / "shop.sql").write_text(_postgres_sql(svc))
    await svc.once([programs / "psql", "-q", "-v", "ON_ERROR_STOP=1", "-h", home, "-p", port, "-U", "postgres", "-f",
                    svc.directory / "shop.sql"])


def _as(account_name, *argv):
    """A command line under a service's own account, from a folder that it may enter."""
    return ["setpriv", f"--reuid={account_name}", f"--regid={account_name}", "--clear-groups",
            "sh", "-c", 'cd / && exec "$@"', "sh", *argv]


def _postgres_sql(svc):
    rows = int(svc.options.get("rows", svc.rng.randrange(800, 6000)))
    users = "\n".join(f"CREATE ROLE {name} LOGIN PASSWORD '{password}';" for name, password in svc.site.users)
    return f"""{users}
CREATE DATABASE {DATABASE};
\\c {DATABASE}
CREATE TABLE orders (id int PRIMARY KEY, customer int, total numeric, note text);
INSERT INTO orders SELECT n, n % 97, n * 1.25, repeat(md5(n::text), 1 + n % {svc.rng.randrange(2, 9)})
    FROM generate_series(1, {rows}) n;
CREATE TABLE events (id bigserial PRIMARY KEY, at timestamptz DEFAULT now(), body text);
GRANT ALL ON ALL TABLES IN SCHEMA public TO PUBLIC;
GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO PUBLIC;
"""


@service("mysql")
async def mysql(svc):
    """MariaDB; options: port, rows."""
    home, port = "/var/lib/mysql", svc.port(3306)
    await svc.once(["mount", "-t", "tmpfs", "-o", "mode=700,uid=mysql", "tmpfs", home])
    small = ["--no-defaults", f"--datadir={home}", "--user=mysql", "--innodb-log-file-size=4M",
             "--innodb-buffer-pool-size=6M", "--innodb-use-native-aio=0", "--innodb-fast-shutdown=2"]
    await svc.once(["mariadb-install-db", *small, "--auth-root-authentication-method=normal", "--skip-test-db",
                    "--skip-name-resolve"])
    (svc.directory / "shop.sql").write_text(_mysql_sql(svc))
    await svc.once(["install", "-o", "mysql", "-m", "600", svc.directory / "shop.sql", f"{home}/shop.sql"])
    await svc.spawn(["mariadbd", *small, f"--port={port}", "--bind-address=*", f"--socket={home}/socket",
                     f"--init-file={home}/shop.sql", "--skip-name-resolve", "--performance-schema=off",
                     "--innodb-flush-log-at-trx-commit=0", "--key-buffer-size=1M", "--aria-pagecache-buffer-size=1M",
                     "--max-connections=60", f"--wait-timeout={svc.rng.choice([30, 60, 300, 28800])}",
                     f"--connect-timeout={svc.rng.choice([5, 10, 30])}", "--max-connect-errors=100000",
                     f"--pid-file={home}/pid", "--skip-log-error"])
    await svc.ready(port, timeout_s=60)


def _mysql_sql(svc):
    rows = int(svc.options.get("rows", svc.rng.randrange(500, 3000)))
    users = "".join(f"CREATE OR REPLACE USER '{name}'@'%' IDENTIFIED BY '{password}';\n"
                    f"GRANT ALL ON {DATABASE}.* TO '{name}'@'%';\n" for name, password in svc.site.users)
    return (f"CREATE DATABASE IF NOT EXISTS {DATABASE};\n{users}"
            f"CREATE TABLE IF NOT EXISTS {DATABASE}.pages (id int PRIMARY KEY, title varchar(80), body text);\n"
            f"INSERT IGNORE INTO {DATABASE}.pages SELECT seq, concat('page ', seq), repeat(md5(seq), 1 + seq % 40) "
            f"FROM seq_1_to_{rows};\n"
            f"CREATE TABLE IF NOT EXISTS {DATABASE}.visits (id int AUTO_INCREMENT PRIMARY KEY, page int, agent text);\n")


@service("redis")
async def redis(svc):
    """Redis, nothing kept on disk; options: port."""
    port, password = svc.port(6379), redis_password(svc.host)
    secret = ["--requirepass", password] if password else []
    await svc.spawn(_as("redis", "redis-server", "--port", port, "--bind", "*", "-::*", "--protected-mode", "no",
                        "--save", "", "--appendonly", "no", "--dir", "/tmp",
                        "--maxmemory", "24mb", "--maxmemory-policy", "allkeys-lru",
                        "--tcp-keepalive", svc.rng.choice([0, 60, 300]), "--timeout", svc.rng.choice([0, 0, 120]), *secret))
    await svc.ready(port)
