"""Accounts of the company: a passwd, shadow and group file that only the hosts of the testbed see.

Owns: those three files. Never touches the machine's own accounts. In: the site's users. Out: files to bind over /etc.
"""

import os
import subprocess
from pathlib import Path

FIRST_UID = 20_000


def write(site, directory: Path):
    """Writes the files and the users' homes under `directory`."""
    directory.mkdir(parents=True, exist_ok=True)
    hashes = subprocess.run(["openssl", "passwd", "-5", "-stdin"], input="\n".join(p for _, p in site.users) + "\n",
                            capture_output=True, text=True, check=True).stdout.split()
    passwd, shadow, group = (Path("/etc", name).read_text() for name in ("passwd", "shadow", "group"))
    for number, ((name, _), digest) in enumerate(zip(site.users, hashes, strict=True)):
        uid = FIRST_UID + number
        home = directory / "home" / name
        home.mkdir(parents=True, exist_ok=True)
        os.chown(home, uid, uid)
        passwd += f"{name}:x:{uid}:{uid}::{home}:/bin/sh\n"
        shadow += f"{name}:{digest}:20000:0:99999:7:::\n"
        group += f"{name}:x:{uid}:\n"
    for name, text in (("passwd", passwd), ("shadow", shadow), ("group", group)):
        (directory / name).write_text(text)
    (directory / "shadow").chmod(0o600)
