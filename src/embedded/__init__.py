"""Owns PostgreSQL, Redis and LiveKit for development, the demo and the tests: real servers, started
from wheels or from what the machine has, on loopback, below one data folder, gone when the process
that opened them is gone.

Never used in production, never imported below the command line, imports nothing of the other rooms.

Start reading at `open_servers` in servers.py; process.py and warden.py hold the promise that
nothing is left behind.
"""

from src.embedded.errors import (
    BinariesMissing,
    DataDirBusy,
    DataDirUnusable,
    EmbeddedError,
    NotEmbedded,
    StartFailed,
)
from src.embedded.livekit import open_livekit
from src.embedded.servers import Servers, open_servers

__all__ = [
    "BinariesMissing",
    "DataDirBusy",
    "DataDirUnusable",
    "EmbeddedError",
    "NotEmbedded",
    "Servers",
    "StartFailed",
    "open_livekit",
    "open_servers",
]
