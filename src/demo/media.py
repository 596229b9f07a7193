"""LiveKit for the servers of this machine: the one that the settings name, else one of our own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from src.embedded import open_livekit
from src.embedded.binaries import find_livekit

URL, KEY, SECRET = (f"SWARMSTATE_LIVEKIT_{name}" for name in ("URL", "API_KEY", "API_SECRET"))
_HEARS = "/api/v1/webhooks/livekit"


@contextmanager
def open_media(
    data_dir: Path, settings: Mapping[str, str], ports: Sequence[int]
) -> Iterator[Mapping[str, str]]:
    """Give the settings by which servers on these ports reach LiveKit, for the block.

    Our own one has a key made for this run, and tells each of them of its rooms.

    Raises:
        BinariesMissing: there is none, and no livekit-server here; says how to get it.
        EmbeddedError: it could not be started.
    """
    if URL in settings:
        yield {name: settings[name] for name in (URL, KEY, SECRET) if name in settings}
        return
    webhooks = [f"http://127.0.0.1:{port}{_HEARS}" for port in ports]
    with open_livekit(find_livekit(), data_dir, webhooks=webhooks) as livekit:
        yield {URL: livekit.url, KEY: livekit.key, SECRET: livekit.secret}
