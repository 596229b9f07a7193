"""A server on which each operation of the OpenAPI document can be done, LiveKit's part included.

Its rooms are in memory: what it answers does not depend on whether a livekit-server is at hand.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.support.api import RunningServer, running_server
from tests.support.exploring import Explored
from tests.support.livekit import settings_for
from tests.support.media import MemoryMedia

OF_LIVEKIT = "POST /api/v1/webhooks/livekit"
"""Takes what LiveKit has signed, so no request made from the document has it done; see
tests/integration/api/test_livekit_webhook.py."""


@asynccontextmanager
async def documented_server(
    database_url: str, redis_url: str, folder: Path
) -> AsyncIterator[RunningServer]:
    """Serve with files in that folder, rooms in memory, and no rates."""
    async with running_server(
        database_url,
        redis_url,
        state={"blobs_url": folder.as_uri()},
        livekit=settings_for("ws://livekit.invalid"),
        media=MemoryMedia(),
        rate_limits="off",
    ) as server:
        yield server


def unreached(found: Explored) -> list[str]:
    """Return the operations that never answered with a 2xx and should have."""
    return [name for name in found.unreached() if name != OF_LIVEKIT]
