"""The data folder: one process at a time, one password, one place per server.

<data folder>/
  lock              held by the process that has the servers open; its pid
  password          of both servers, made at first start, mode 0600
  postgres/  postgres.log  postgres.lock
  redis/     redis.log     redis.lock
  livekit/   livekit.log   livekit.lock    where rooms are wanted; nothing in it is kept
"""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from src.embedded.errors import DataDirBusy, DataDirUnusable
from src.embedded.process import try_lock

PASSWORD_BYTES = 24


class DataDir:
    """An opened data folder; see `open_data_dir`."""

    def __init__(self, path: Path, password: str) -> None:
        self.path = path
        self.password = password


@contextmanager
def open_data_dir(path: Path) -> Iterator[DataDir]:
    """Make the folder if needed and keep every other process out of it until the block ends.

    Raises:
        DataDirBusy: another process has it open.
        DataDirUnusable: it cannot be made or written.
    """
    path = path.absolute()
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise DataDirUnusable(
            f"data folder {path} cannot be used ({error.strerror}); choose another data folder"
        ) from error
    try:
        if not try_lock(lock):
            raise DataDirBusy(path, _pid_in(lock))
        os.ftruncate(lock, 0)
        os.write(lock, str(os.getpid()).encode())
        yield DataDir(path, _password(path))
    finally:
        os.close(lock)


def _pid_in(lock: int) -> int | None:
    text = os.pread(lock, 20, 0).decode(errors="replace")
    return int(text) if text.isdigit() else None


def _password(path: Path) -> str:
    file = path / "password"
    if file.exists():
        return file.read_text().strip()
    if (path / "postgres").exists():
        raise DataDirUnusable(
            f"{file} is gone, so the database beside it cannot be opened; put the file back, "
            "or choose another data folder"
        )
    password = secrets.token_urlsafe(PASSWORD_BYTES)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        out.write(password)
    return password
