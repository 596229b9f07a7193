"""Chooses who runs PostgreSQL, which refuses to run as root.

As an ordinary user there is nothing to choose. Root has two ways: a user namespace, in which root
is called 1000 and the files stay root's; or, where the kernel or a container forbids that,
another user who is given the data.
"""

import os
import pwd
import shutil
import stat
from collections.abc import Iterable
from pathlib import Path

from msgspec.structs import replace

from src.embedded.binaries import Binary
from src.embedded.errors import DataDirUnusable, StartFailed
from src.embedded.process import SELF, Identity, Order, run

ORDINARY_USERS = ("postgres", "nobody")


def choose(binary: Binary, data_dir: Path) -> tuple[Binary, Identity]:
    """Return the program where it can be reached, and the identity that shall run it.

    Raises:
        DataDirUnusable: the ordinary user that root has to become cannot reach the data folder.
    """
    if os.geteuid() != 0:
        return binary, SELF
    namespace = Identity("namespace")
    if can_run(binary, namespace, data_dir):
        return binary, namespace
    return ordinary_user(binary, data_dir)


def ordinary_user(binary: Binary, data_dir: Path) -> tuple[Binary, Identity]:
    """Root's second way: become another user, who may need a copy of the programs."""
    entry = next(entry for entry in map(_entry, ORDINARY_USERS) if entry)
    identity = Identity("user", entry.pw_uid, entry.pw_gid)
    data_dir.chmod(0o711)
    if not _all_may_enter(data_dir):
        raise DataDirUnusable(
            f"PostgreSQL cannot run as root here, and user {entry.pw_name} cannot reach "
            f"{data_dir}; choose a data folder that others may enter, for example below /var/lib"
        )
    if not can_run(binary, identity, data_dir):
        binary = _copy(binary, data_dir)
    return binary, identity


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
        folder=Path("/"),
        log=data_dir / "identity.log",
        stop=((9, 5.0),),
        identity=identity,
    )
    try:
        run(probe)
    except StartFailed:
        return False
    return True


def _entry(name: str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None


def _all_may_enter(folder: Path) -> bool:
    return all(path.stat().st_mode & stat.S_IXOTH for path in (folder, *folder.parents))


def _copy(binary: Binary, data_dir: Path) -> Binary:
    """Copy an installation tree, and the .libs folder that the wheel's programs look for."""
    install = binary.path.parent.parent
    package = install.parent
    copy = data_dir / f"postgres-{binary.version}"
    libraries = package.with_name(f"{package.name}.libs")
    for source, target in (
        (libraries, copy / libraries.name),
        (install, copy / package.name / install.name),
    ):
        if source.exists() and not target.exists():
            partial = target.with_name(f"{target.name}.partial")
            shutil.rmtree(partial, ignore_errors=True)
            shutil.copytree(source, partial, symlinks=True)
            partial.rename(target)
    return replace(binary, path=copy / package.name / install.name / "bin" / binary.path.name)
