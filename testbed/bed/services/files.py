"""File servers: vsftpd and Samba.

Owns: their configuration and a share of drawn files. The company's accounts log in with their passwords. In: a service
context. Out: servers that answer.
"""

from ..catalog import service


def fill(rng, directory, count):
    """Makes sparse files of drawn sizes in a folder anybody may write."""
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(0o777)
    for number in range(count):
        path = (
            directory
            / f"{rng.choice(('report', 'scan', 'plan', 'invoice', 'photo'))}-{number}.{rng.choice(('pdf', 'docx', 'dat', 'jpg'))}"
        )
        with open(path, "wb") as file:
            file.truncate(min(int(rng.lognormvariate(11, 1.8)), 20 << 20))
        path.chmod(0o666)


@service("ftp")
async def ftp(svc):
    """vsftpd on `port` (21), passive ports 30000 to 30999."""
    rng = svc.rng
    public = svc.directory / "public"
    fill(rng, public, rng.randint(5, 40))
    public.chmod(0o755)  # vsftpd refuses a writable anonymous root
    files = svc.directory / "files"
    fill(rng, files, rng.randint(5, 40))
    await svc.once(["sh", "-c", "mkdir -p /run/vsftpd/empty && mount -t tmpfs tmpfs /var/log"])
    (svc.directory / "vsftpd.conf").write_text(f"""listen=NO
listen_ipv6=YES
listen_port={svc.port(21)}
background=NO
local_enable=YES
write_enable=YES
anonymous_enable={rng.choice(("YES", "NO"))}
anon_root={public}
local_root={files}
seccomp_sandbox=NO
isolate_network=NO
isolate=NO
xferlog_enable=NO
pam_service_name=vsftpd
pasv_min_port=30000
pasv_max_port=30999
secure_chroot_dir=/run/vsftpd/empty
ftpd_banner={rng.choice(("Welcome.", "Company file exchange.", "FTP server ready. Authorised use only; everything is logged."))}
max_login_fails={rng.choice((2, 3, 5, 10))}
delay_failed_login={rng.choice((0, 1, 1, 3))}
idle_session_timeout={rng.choice((60, 120, 300))}
data_connection_timeout=60
max_per_ip=0
max_clients=200
""")
    await svc.spawn(["vsftpd", svc.directory / "vsftpd.conf"])
    await svc.ready(svc.port(21))


@service("smb")
async def smb(svc):
    """Samba's smbd on `port` (445): share `files` for the accounts, `public` for guests."""
    rng, directory = svc.rng, svc.directory
    for name in ("files", "public"):
        fill(rng, directory / name, rng.randint(10, 60))
    for name in ("private", "state", "cache", "lock", "pid"):
        (directory / name).mkdir(exist_ok=True)
    (directory / "smb.conf").write_text(f"""[global]
workgroup = {svc.site.domain.split("-")[0].upper()[:12]}
server role = standalone server
server string = {svc.host.name}
smb ports = {svc.port(445)}
map to guest = Bad User
private dir = {directory}/private
state directory = {directory}/state
cache directory = {directory}/cache
lock directory = {directory}/lock
pid directory = {directory}/pid
ncalrpc dir = {directory}/pid/ncalrpc
log file = /dev/null
log level = 0
load printers = no
disable spoolss = yes
printing = bsd
server min protocol = {rng.choice(("SMB2", "SMB2_10", "NT1"))}
server signing = {rng.choice(("default", "mandatory"))}
smb encrypt = {rng.choice(("off", "if_required", "if_required"))}
deadtime = {rng.choice((0, 5, 15))}
[files]
path = {directory}/files
read only = no
force user = root
[public]
path = {directory}/public
guest ok = yes
read only = no
force user = root
""")
    # One import instead of a smbpasswd run for each account.
    (directory / "accounts.txt").write_text(
        "".join(f"{_entry(name, password, 20_000 + n)}\n" for n, (name, password) in enumerate(svc.site.users))
    )
    await svc.once(["pdbedit", "-s", directory / "smb.conf", "-i", f"smbpasswd:{directory}/accounts.txt"])
    await svc.spawn(["smbd", "-F", "--no-process-group", "-s", directory / "smb.conf"])
    await svc.ready(svc.port(445))


def _entry(name, password, uid):
    from impacket.ntlm import compute_nthash

    return f"{name}:{uid}:{'X' * 32}:{compute_nthash(password).hex().upper()}:[U          ]:LCT-60000000:"
