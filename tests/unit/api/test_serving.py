"""How one server process listens to its clients."""

from __future__ import annotations

from pydantic import SecretStr

from src.api.app import create_app
from src.api.serving import _Server
from src.api.settings import ApiSettings


def test_a_live_frame_is_not_taken_in_beyond_what_it_may_hold() -> None:
    """Compressed, a few kilobytes would otherwise be 16 MiB in memory before they are refused."""
    settings = ApiSettings(jwt_secret=SecretStr("x" * 32), max_body_bytes=2048)

    # A character is four bytes at the most; the session says of a frame in characters.
    assert _Server(create_app(settings)).config.ws_max_size == 4 * 2048
