"""LiveKit's library is loaded by those who have a LiveKit, and by nobody else."""

from __future__ import annotations

import subprocess
import sys

import pytest

LOADED = """
import asyncio, sys
from src.api.app import create_app
from src.api.livekit.opening import keys_of, open_media
from src.api.settings import ApiSettings
from src.swarm.rooms.settings import LiveKitSettings

async def main():
    settings = LiveKitSettings()
    create_app(ApiSettings(jwt_secret="5e" * 32), livekit=settings).openapi()
    keys_of(settings)
    async with open_media(settings):
        print("livekit.api" in sys.modules)

asyncio.run(main())
"""


@pytest.mark.parametrize("configured", [False, True])
def test_the_library_is_loaded_only_with_a_livekit(configured: bool) -> None:
    names = {"URL": "ws://127.0.0.1:1", "API_KEY": "key", "API_SECRET": "secret"}
    given = {f"SWARMSTATE_LIVEKIT_{name}": value for name, value in names.items()}
    told = subprocess.run(
        [sys.executable, "-c", LOADED],
        env=given if configured else {},
        capture_output=True,
        text=True,
        check=True,
    )

    assert told.stdout == f"{configured}\n"
