"""Mail: submission and IMAP of the company or of a provider, from one process (mail_server).

Owns: its certificate and the list of accounts it reads. In: a service context. Out: SMTP 25 and 587, IMAP 143 and 993.
"""

import json

from ..catalog import service
from . import certificates


@service("mail")
async def mail(svc):
    """Options: smtp, submission, imap, imaps: ports."""
    key, certificate = await certificates.certificate(svc)
    ports = {
        name: int(svc.options.get(name, usual))
        for name, usual in (("smtp", 25), ("submission", 587), ("imap", 143), ("imaps", 993))
    }
    (svc.directory / "mail.json").write_text(
        json.dumps(
            {
                "name": svc.host.fqdn,
                "users": dict(svc.site.users),
                "certificate": str(certificate),
                "key": str(key),
                "seed": svc.host.seed,
                **ports,
                "failed_delay_s": svc.rng.choice((0.1, 1, 2, 3)),
                "tries": svc.rng.choice((3, 5, 10)),
                "idle_s": svc.rng.choice((300, 600, 1800)),
                "still_here_s": svc.rng.choice((30, 60, 120, 0)),
                "greeting_delay_s": svc.rng.choice((0, 0, 0, 0.5, 4)),
            }
        )
    )
    await svc.python("mail_server", svc.directory / "mail.json")
    await svc.ready(ports["imap"])
