"""The real livekit-server on loopback, with ports and keys of its own.

`make livekit` builds it; one on PATH, or that SWARMSTATE_LIVEKIT_SERVER names, does as well. Where
there is none the tests that need it are skipped, except in CI.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from hashlib import sha256
from pathlib import Path

import pytest
from livekit import api
from pydantic import SecretStr

from src.embedded import BinariesMissing, open_livekit
from src.embedded.binaries import Binary, find_livekit
from src.embedded.livekit import KEY as KEY
from src.swarm.rooms.settings import LiveKitSettings

SECRET = "the secret of LiveKit in tests, 32 characters at least"
MINUTES = timedelta(minutes=5)
"""How long LiveKit's own signatures are good for."""


def _found() -> Binary | None:
    try:
        return find_livekit()
    except BinariesMissing:
        return None


LIVEKIT = _found()
needs_livekit = pytest.mark.skipif(
    LIVEKIT is None and not os.environ.get("CI"),
    reason="there is no livekit-server; `make livekit` builds it",
)


def settings_for(url: str, **changes: object) -> LiveKitSettings:
    """Settings of a server that uses the LiveKit there."""
    given = {"url": url, "api_key": KEY, "api_secret": SecretStr(SECRET), **changes}
    return LiveKitSettings.model_validate(given)


def signature(body: bytes, *, secret: str = SECRET, lifetime: timedelta = MINUTES) -> str:
    """Sign a body as LiveKit signs its webhooks."""
    digest = base64.b64encode(sha256(body).digest()).decode()
    token = api.AccessToken(KEY, secret).with_ttl(lifetime)
    return token.with_sha256(digest).to_jwt()


@contextmanager
def running(folder: Path, port: int, webhook: str | None = None) -> Iterator[str]:
    """Run a server on `port` for the length of the block; give its URL. `webhook` is told."""
    assert LIVEKIT is not None, "CI must run `make livekit`"
    urls = () if webhook is None else (webhook,)
    with open_livekit(LIVEKIT, folder, webhooks=urls, port=port, secret=SECRET) as server:
        yield server.url
