"""Settings of the agents room: SWARMSTATE_ROOMS_*."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from pydantic_settings import BaseSettings, SettingsConfigDict

from src.state.durations import Duration


class NamedProvider(BaseModel):
    """A plugin with what configs may not give: its key, and where it is."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    plugin: Annotated[str, StringConstraints(pattern=r"^[a-z0-9_-]{1,64}$")]
    """The package livekit-plugins-<plugin>."""
    options: dict[str, Any] = Field(default_factory=dict, repr=False)
    """Arguments of the plugin's classes: `api_key`, `base_url` and the like."""
    concurrency: int | None = Field(default=None, ge=1, le=10_000)
    """Requests of each stage that a server makes of it at once; more wait. None: no bound."""


_ProviderName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]


class RoomsSettings(BaseSettings):
    """How many rooms a server hosts, and how long it waits for things of a room."""

    model_config = SettingsConfigDict(
        env_prefix="SWARMSTATE_ROOMS_", extra="ignore", hide_input_in_errors=True
    )

    sessions: int = Field(default=10, ge=1, le=10_000)
    """Rooms that this server hosts at once; then LiveKit is told that it is full."""
    calls: int = Field(default=10, ge=1, le=10_000)
    """Calls over WebSockets that this server hosts at once, besides rooms; one more gets 503."""
    recording_length: Duration = Field(
        default=timedelta(hours=1), ge=timedelta(seconds=1), le=timedelta(hours=12)
    )
    """How long one file of a recording becomes; then it goes on in a further one. So much is lost
    at most when this server is killed."""
    recording_timeout: Duration = timedelta(seconds=10)
    """How long the recordings that are finished may take to be stored when this server stops; what
    is not stored then is lost."""
    metadata_timeout: Duration = timedelta(seconds=10)
    """How long a job whose dispatch names no conversation waits for its room to name one."""
    drain_timeout: Duration = timedelta(seconds=5)
    """How long rooms may go on when this server is told to stop; then others host them."""
    models: int = Field(default=256, ge=1, le=10_000)
    """Models that this server has loaded at once, one for each name and options in use."""
    models_kept: Duration = timedelta(minutes=2)
    """How long a model that nobody uses stays loaded, for who comes next."""
    providers: dict[_ProviderName, NamedProvider] = Field(default={}, max_length=100)
    """What configs may write before the slash of `plugin/model`, besides plugins themselves."""
