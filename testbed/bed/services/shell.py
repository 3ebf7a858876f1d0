"""Shells and copies: real OpenSSH, and the rsync daemon.

Owns: host keys and configuration of both. The company's accounts log in with their passwords. In: a service context.
"""

from ..catalog import service


@service("sshd")
async def sshd(svc):
    """OpenSSH on `port` (22); option `password` = "no" leaves keys only."""
    rng, directory = svc.rng, svc.directory
    kinds = rng.choice((["ed25519"], ["ed25519", "ecdsa"], ["ed25519", "rsa"], ["rsa"]))
    for kind in kinds:
        await svc.once(["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", directory / f"host_{kind}"])
    await svc.once(["sh", "-c", "mkdir -p /run/sshd && mount -t tmpfs tmpfs /var/log"])
    (directory / "banner").write_text("Authorised use only.\n" * rng.randint(1, 12))
    lines = [f"HostKey {directory}/host_{kind}" for kind in kinds] + [
        f"Port {svc.port(22)}",
        "AddressFamily any",
        f"PidFile {directory}/pid",
        "UsePAM no",
        "StrictModes no",
        "UseDNS no",
        f"PasswordAuthentication {svc.options.get('password', 'yes')}",
        "PrintLastLog no",
        "PermitTunnel yes",
        "GatewayPorts yes",
        f"MaxAuthTries {rng.choice((3, 4, 6, 6))}",
        f"MaxStartups {rng.choice(('10:30:100', '10:30:60', '50:30:200', '200'))}",
        f"LoginGraceTime {rng.choice((20, 30, 60, 120))}",
        f"ClientAliveInterval {rng.choice((0, 0, 15, 30, 60))}",
        f"Compression {rng.choice(('yes', 'no'))}",
        "Subsystem sftp internal-sftp",
    ]
    if rng.random() < 0.3:
        lines.append(f"Banner {directory}/banner")
    if rng.random() < 0.4:
        lines.append(
            f"Ciphers {rng.choice(('aes128-ctr', 'aes256-gcm@openssh.com,aes128-ctr', 'chacha20-poly1305@openssh.com,aes128-ctr'))}"
        )
    (directory / "sshd_config").write_text("\n".join(lines) + "\n")
    await svc.spawn(["/usr/sbin/sshd", "-D", "-e", "-f", directory / "sshd_config"])
    await svc.ready(svc.port(22))


@service("rsyncd")
async def rsyncd(svc):
    """An rsync daemon on `port` (873), module `backup`."""
    store = svc.directory / "backup"
    store.mkdir(exist_ok=True)
    for number in range(svc.rng.randint(20, 80)):
        with open(store / f"{number:03}.dat", "wb") as file:
            file.write(svc.rng.randbytes(min(int(svc.rng.lognormvariate(9, 1.5)), 400_000)))
    (svc.directory / "rsyncd.conf").write_text(
        f"uid = root\ngid = root\nuse chroot = no\nreverse lookup = no\npid file = {svc.directory}/pid\nlog file = /dev/null\nport = {svc.port(873)}\n"
        f"timeout = {svc.rng.choice((60, 300, 600))}\n[backup]\npath = {store}\nread only = no\n"
    )
    await svc.spawn(["rsync", "--daemon", "--no-detach", f"--config={svc.directory}/rsyncd.conf"])
    await svc.ready(svc.port(873))
