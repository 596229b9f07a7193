"""Settings of a server as a whole: its address, and how it speaks with the other servers."""

from __future__ import annotations

import secrets
from datetime import timedelta

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from src.state.durations import Duration
from src.state.settings import StateSettings
from src.swarm.pending import Bounds
from src.swarm.rooms.settings import LiveKitSettings


class SwarmSettings(BaseSettings):
    """Read from `SWARMSTATE_<NAME>`."""

    model_config = SettingsConfigDict(env_prefix="SWARMSTATE_", extra="ignore", frozen=True)

    server_url: str = "http://127.0.0.1:8080"
    """Where the other servers reach this one."""
    internal_secret: SecretStr = Field(
        default_factory=lambda: SecretStr(secrets.token_hex(32)), min_length=32
    )
    """Signs what servers say to each other. The same on all servers; made up when not given, which
    is enough for one server only."""
    forward_timeout: Duration = timedelta(seconds=6)
    """How long a forwarded command may take."""
    patience: Duration = timedelta(seconds=3)
    """How long a write waits for an owner that is changing before 503 `ownership_unknown`."""
    room_reply_timeout: Duration = timedelta(seconds=60)
    """How long one answer of a bot may take, whichever of its providers gives it."""
    room_first_part_timeout: Duration = timedelta(seconds=10)
    """A provider that has said nothing for so long is passed over for the bot's next one."""
    pending_turns_per_room: int = Field(default=1_000, ge=1)
    """Turns of one running conversation that may wait here while PostgreSQL is away."""
    pending_turns: int = Field(default=20_000, ge=1)
    """The same over all conversations ..."""
    pending_bytes: int = Field(default=64 << 20, ge=1 << 10)
    """... and in bytes of memory."""

    webhook_private_addresses: bool = False
    """Whether webhooks may lead to http:// and to addresses that are not public."""
    webhook_timeout: Duration = Field(default=timedelta(seconds=15), gt=timedelta(0))
    """How long the receiver of a webhook may take to answer."""
    webhook_first_retry: Duration = Field(default=timedelta(seconds=5), gt=timedelta(0))
    """A message that was not received is sent again after about this long, then twice that ..."""
    webhook_longest_retry: Duration = timedelta(hours=1)
    """... up to this long ..."""
    webhook_give_up: Duration = timedelta(days=3)
    """... until it has failed for this long: then its webhook is disabled."""

    @property
    def pending_bounds(self) -> Bounds:
        """How much may be pending on this server."""
        return Bounds(self.pending_turns_per_room, self.pending_turns, self.pending_bytes)


class RuntimeSettings:
    """The settings of all rooms below the edges."""

    def __init__(
        self,
        state: StateSettings | None = None,
        swarm: SwarmSettings | None = None,
        livekit: LiveKitSettings | None = None,
    ) -> None:
        # pydantic-settings fills required fields from the environment.
        self.state = state or StateSettings()
        self.swarm = swarm or SwarmSettings()
        self.livekit = livekit or LiveKitSettings()
