"""Chooses who runs PostgreSQL, which refuses to run as root.

As an ordinary user there is nothing to choose. Root has two ways: a user namespace, in which root
is called 1000 and the files stay root's; or, where the kernel or a container forbids that,
another user who is given the data.
"""

import os
import pwd
import signal
from collections.abc import Iterable
from pathlib import Path

from src.embedded.binaries import Binary
from src.embedded.errors import DataDirUnusable, StartFailed
from src.embedded.process import SELF, Identity, Order, run

ORDINARY_USERS = ("postgres", "nobody")
NOBODY = 65534


def choose(binary: Binary, data_dir: Path) -> Identity:
    """Return the identity that shall run this program on this data folder.

    Raises:
        DataDirUnusable: root may not become anybody who can run the program there.
    """
    if os.geteuid() != 0:
        return SELF
    namespace = Identity("namespace")
    if can_run(binary, namespace, data_dir):
        return namespace
    other = ordinary_user()
    if can_run(binary, other, data_dir):
        return other
    raise DataDirUnusable(
        f"PostgreSQL does not run as root, and here neither a user namespace nor another user can "
        f"run {binary.path} in {data_dir}; start as an ordinary user, choose a data folder that "
        "others may enter, or set SWARMSTATE_DATABASE_URL"
    )


def ordinary_user() -> Identity:
    """Return root's second way: the user of the system's PostgreSQL, else nobody."""
    for name in ORDINARY_USERS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Identity("user", entry.pw_uid, entry.pw_gid)
    return Identity("user", NOBODY, NOBODY)


def give(folders: Iterable[Path], identity: Identity) -> None:
    """Make the identity the owner of these folders and all below, if it is not."""
    uid, gid = (
        (identity.uid, identity.gid) if identity.kind == "user" else (os.geteuid(), os.getegid())
    )
    for folder in folders:
        if not folder.exists() or folder.stat().st_uid == uid:
            continue
        for parent, names, files in os.walk(folder):
            for name in names + files:
                os.chown(Path(parent, name), uid, gid, follow_symlinks=False)
        # The top last: it tells the next start that all below is done.
        os.chown(folder, uid, gid)


def can_run(binary: Binary, identity: Identity, data_dir: Path) -> bool:
    probe = Order(
        command=(str(binary.path), "--version"),
        folder=data_dir,
        log=data_dir / "identity.log",
        stop=((signal.SIGTERM, 5.0),),
        identity=identity,
    )
    try:
        run(probe)
    except StartFailed:
        return False
    return True
