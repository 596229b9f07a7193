"""What can go wrong with the embedded servers.

EmbeddedError
├── BinariesMissing     a server's program is not on this machine, or too old
├── StartFailed         a server ended, or did not answer, while it was being started
├── DataDirBusy         another process uses the data folder
├── DataDirUnusable     the data folder cannot be written, or holds what these binaries cannot read
└── NotEmbedded         a server that was given by URL was asked to be killed or started
"""

from pathlib import Path

LAST_LINES = 12


class EmbeddedError(Exception):
    """The embedded servers cannot do what was asked; the message names the next step."""


class BinariesMissing(EmbeddedError):
    """No usable binaries were found."""


class StartFailed(EmbeddedError):
    """A server did not come up; the message ends with the last lines of its log."""

    def __init__(self, what: str, log: Path) -> None:
        self.log = log
        lines = log.read_text(errors="replace").splitlines() if log.exists() else []
        tail = "\n".join(f"  {line}" for line in lines[-LAST_LINES:]) or "  (nothing)"
        super().__init__(f"{what}. Its log, {log}, ends with:\n{tail}")


class DataDirBusy(EmbeddedError):
    """The data folder belongs to a process that is alive."""

    def __init__(self, path: Path, pid: int | None) -> None:
        self.pid = pid
        holder = f"process {pid}" if pid else "another process"
        super().__init__(
            f"data folder {path} is in use by {holder}; stop it, or choose another data folder"
        )


class DataDirUnusable(EmbeddedError):
    """The data folder cannot serve; nothing in it was changed."""


class NotEmbedded(EmbeddedError):
    """The server was given by URL: it is not ours to kill or start."""
