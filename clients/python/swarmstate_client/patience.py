"""How long this client waits, for what, and how often it tries."""

from __future__ import annotations

import random
from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True)
class Patience:
    """Bounds of every wait; times in seconds.

    A call ends within `attempts * (timeout_s + longest_pause_s)`. A stream or a file may take any
    time as long as something comes within `silence_s`, and is given up after `attempts` failures
    in a row between which nothing came.
    """

    attempts: int = 6
    """Tries of one request, the first one too."""
    timeout_s: float = 20.0
    """For one try, from the connection to the end of the answer."""
    connect_s: float = 5.0
    """For the connection alone."""
    silence_s: float = 60.0
    """Streams and files: nothing for so long, and the connection counts as dead. Servers send a
    comment every 15 s."""
    pause_s: float = 0.1
    """Before the second try at most twice that, before the third four times, and so on."""
    longest_pause_s: float = 30.0
    """Before any try, whatever Retry-After says."""

    def __post_init__(self) -> None:
        for field in fields(self):
            if not getattr(self, field.name) > 0:
                raise ValueError(f"{field.name} is not above 0; every bound of Patience is")

    def pause(self, failures: int, asked_s: float | None) -> float:
        """Return how long to wait after so many failures in a row, `asked_s` being Retry-After.

        The random part spreads callers who failed together; it guards nothing.
        """
        longest = min(self.pause_s * 2.0 ** min(failures, 30), self.longest_pause_s)
        return min((asked_s or 0.0) + random.uniform(0, longest), self.longest_pause_s)
