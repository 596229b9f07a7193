"""Where LiveKit is, and how long rooms there last; read from `SWARMSTATE_LIVEKIT_<NAME>`."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from pydantic import Field, SecretStr, StringConstraints, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from src.state.durations import Duration

_Url = Annotated[str, StringConstraints(pattern=r"^(wss?|https?)://[^/\s]+(/\S*)?$")]
_NEEDED = ("url", "api_key", "api_secret")


class LiveKitSettings(BaseSettings):
    """All of address, key and secret, or none: then there are no rooms."""

    model_config = SettingsConfigDict(env_prefix="SWARMSTATE_LIVEKIT_", extra="ignore", frozen=True)

    url: _Url | None = None
    """Where this server reaches LiveKit: `ws://` or `wss://`."""
    client_url: _Url | None = None
    """Where people's browsers reach it; not set, at the same place."""
    api_key: str | None = Field(default=None, min_length=1)
    """Which of LiveKit's keys is ours ..."""
    api_secret: SecretStr | None = Field(default=None, min_length=1)
    """... and its secret, which signs tokens for rooms and LiveKit's webhooks."""
    token_lifetime: Duration = Field(default=timedelta(hours=2), gt=timedelta(0))
    """How long after its making a token lets somebody in; who is in stays in."""
    timeout: Duration = Field(default=timedelta(seconds=5), gt=timedelta(0))
    """How long a request to LiveKit may take, its repetitions included."""
    empty_timeout: Duration = Field(default=timedelta(minutes=5), ge=timedelta(seconds=1))
    """How long a room waits for the first to come ..."""
    departure_timeout: Duration = Field(default=timedelta(minutes=1), ge=timedelta(seconds=1))
    """... and, after the last has left, for somebody to come back; the swarm stays for so long."""
    queue_timeout: Duration = Field(default=timedelta(minutes=2), gt=timedelta(0))
    """How long a swarm waits for a server with a free place; then it is told that none came."""
    queue_attempts: int = Field(default=5, ge=1, le=100)
    """How often LiveKit is asked for one swarm; then it waits for the operator."""

    @property
    def configured(self) -> bool:
        """Whether there are rooms."""
        return self.url is not None

    @property
    def account(self) -> tuple[str, str, str]:
        """Address, key and secret, where there are rooms."""
        assert self.url is not None
        assert self.api_key is not None
        assert self.api_secret is not None
        return self.url, self.api_key, self.api_secret.get_secret_value()

    @property
    def shown_url(self) -> str:
        """Where people find LiveKit, as their libraries want it: `ws://` or `wss://`."""
        url = self.client_url or self.url or ""
        return f"ws{url.removeprefix('http')}" if url.startswith("http") else url

    @model_validator(mode="after")
    def _is_whole(self) -> LiveKitSettings:
        names = {name: f"SWARMSTATE_LIVEKIT_{name.upper()}" for name in _NEEDED}
        missing = [names[name] for name in _NEEDED if getattr(self, name) is None]
        if 0 < len(missing) < len(names):
            given = " and ".join(one for one in names.values() if one not in missing)
            raise ValueError(f"{given} need {' and '.join(missing)} beside: set all three, or none")
        return self
