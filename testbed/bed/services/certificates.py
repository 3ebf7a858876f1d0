"""Certificates and TLS settings of our own servers: key type, chain size and versions differ per service.

Owns: one key and one certificate per service folder. Never: a certificate that anybody trusts. In: a service. Out: files,
an `ssl.SSLContext`.
"""

import ssl


async def certificate(svc) -> tuple[str, str]:
    """Makes a self-signed certificate; gives the files of the key and of the chain."""
    rng = svc.rng
    key, chain = str(svc.directory / "key.pem"), str(svc.directory / "chain.pem")
    kind = rng.choice((["rsa:2048"], ["ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"], ["ec", "-pkeyopt", "ec_paramgen_curve:secp384r1"]))
    # Other names make the certificate longer, as they do in the wild.
    names = ",".join(f"DNS:{rng.getrandbits(rng.choice((16, 64, 128))):x}.{svc.host.fqdn}" for _ in range(rng.choice((1, 2, 5, 30, 60))))
    await svc.once(["openssl", "req", "-x509", "-newkey", *kind, "-nodes", "-keyout", key, "-out", chain, "-days", str(rng.randrange(30, 900)),
                    "-subj", f"/CN={svc.host.fqdn}", "-addext", f"subjectAltName={names}"])
    return key, chain


def server_context(settings, rng) -> ssl.SSLContext:
    """A server's TLS: `settings` name the key and the chain."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(settings["chain"], settings["key"])
    if rng.random() < 0.3:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.num_tickets = rng.choice((0, 1, 2, 2))
    return context
