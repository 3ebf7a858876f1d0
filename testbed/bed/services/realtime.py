"""Time, telephony and tunnels: chronyd, a SIP server with RTP echo, OpenVPN.

Owns: their configuration and keys. Never sets the machine's clock (chronyd -x). In: a service context.
"""

from ..catalog import service

VPN_NETWORK = "10.99.0.0"
VPN_SERVER = "10.99.0.1"
VPN_ECHO = 7000


@service("ntp")
async def ntp(svc):
    """chronyd on UDP 123, answering everybody."""
    (svc.directory / "chrony.conf").write_text(
        f"local stratum {svc.rng.randint(1, 4)}\nallow all\ncmdport 0\nbindcmdaddress /\npidfile {svc.directory}/pid\n"
        f"driftfile {svc.directory}/drift\n"
    )
    await svc.spawn(["chronyd", "-x", "-d", "-u", "root", "-f", svc.directory / "chrony.conf"])


@service("sip")
async def sip(svc):
    """A registrar and answering machine on UDP 5060, media on 16000 to 16999."""
    await svc.python("sip_server", "--address", svc.host.address, "--seed", svc.host.seed, "--port", svc.port(5060))


@service("vpn")
async def vpn(svc):
    """OpenVPN on `port` (1194), option protocol udp or tcp; inside it an echo of drawn sizes for `vpn_traffic`."""
    directory = svc.directory
    for name in ("server", "client"):
        await svc.once(
            [
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
                "-keyout",
                directory / f"{name}.key",
                "-out",
                directory / f"{name}.pem",
                "-days",
                "900",
                "-subj",
                f"/CN={name}",
            ]
        )
        digest = await svc.once(["openssl", "x509", "-in", directory / f"{name}.pem", "-noout", "-fingerprint", "-sha256"])
        (directory / f"{name}.print").write_bytes(digest.split(b"=")[1].strip())
    protocol = svc.options.get("protocol", "udp")
    (directory / "server.conf").write_text(f"""dev tun
proto {protocol}{"-server" if protocol == "tcp" else ""}
port {svc.port(1194)}
topology subnet
server {VPN_NETWORK} 255.255.255.0
dh none
cert {directory}/server.pem
key {directory}/server.key
<peer-fingerprint>
{(directory / "client.print").read_text()}
</peer-fingerprint>
duplicate-cn
keepalive {svc.rng.choice((5, 10, 20))} 120
data-ciphers {svc.rng.choice(("AES-256-GCM", "AES-128-GCM", "CHACHA20-POLY1305"))}
disable-dco
verb 1
""")
    await svc.spawn(["openvpn", "--config", directory / "server.conf"])
    await svc.python("vpn_traffic", "serve", VPN_ECHO)
    await svc.ready(VPN_ECHO)
