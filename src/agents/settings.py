"""Settings of the agents room: SWARMSTATE_ROOMS_*."""

from __future__ import annotations

from datetime import timedelta

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from src.state.durations import Duration


class RoomsSettings(BaseSettings):
    """How many rooms a server hosts, and how long it waits for things of a room."""

    model_config = SettingsConfigDict(env_prefix="SWARMSTATE_ROOMS_", extra="ignore")

    sessions: int = Field(default=10, ge=1, le=10_000)
    """Rooms that this server hosts at once; then LiveKit is told that it is full."""
    metadata_timeout: Duration = timedelta(seconds=10)
    """How long a job whose dispatch names no conversation waits for its room to name one."""
    drain_timeout: Duration = timedelta(seconds=5)
    """How long rooms may go on when this server is told to stop."""
