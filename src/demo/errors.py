"""What can go wrong around the servers.

ClusterError
├── PortTaken        somebody listens where a server should
├── ServerEnded      a server ended, or stayed silent, while it was started
├── BadMeeting       a meeting file that cannot be played
└── NotAnswered      a server refused or did not answer what it should have
"""

from __future__ import annotations

from pathlib import Path

_LAST_LINES = 8


class ClusterError(Exception):
    """The servers of this machine cannot do what was asked; the message names the next step."""


class PortTaken(ClusterError):
    """Somebody listens on a port that a server needs."""


class ServerEnded(ClusterError):
    """A server did not come up; the message ends with the last lines of its log, if it has one."""

    def __init__(self, name: str, why: str, log: Path | None) -> None:
        if log is None:
            super().__init__(f"server {name} {why}; what it said itself is above")
            return
        lines = log.read_text(errors="replace").splitlines() if log.exists() else []
        tail = "\n".join(f"  {line[:500]}" for line in lines[-_LAST_LINES:]) or "  (nothing)"
        super().__init__(f"server {name} {why}. Its log, {log}, ends with:\n{tail}")


class BadMeeting(ClusterError):
    """A meeting file that cannot be played; names the file and what is wrong with it."""


class NotAnswered(ClusterError):
    """A request that should have been answered was not."""
