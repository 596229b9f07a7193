"""Settings of the HTTP edge, each read from `SWARMSTATE_API_<NAME>`; a bad one fails at start."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from src.state.durations import Duration

Profile = Literal["development", "staging", "production"]


class ApiSettings(BaseSettings):
    """Where the API listens, whom it believes, and how much it takes."""

    model_config = SettingsConfigDict(
        env_prefix="SWARMSTATE_API_", extra="ignore", frozen=True, populate_by_name=True
    )

    host: str = "127.0.0.1"
    """Address to listen on."""
    port: int = Field(default=8080, ge=0, le=65_535)
    """Port to listen on; 0 takes a free one."""
    jwt_secret: SecretStr = Field(min_length=32)
    """Signs users' tokens (HS256). At least 32 characters, the same on all servers."""
    token_lifetime: Duration = Field(default=timedelta(minutes=30), gt=timedelta(0))
    """How long an issued token is good for."""
    verified_tokens: int = Field(default=10_000, ge=1)
    """Verified tokens that a server remembers, so that the next request costs a lookup."""
    cors_origins: tuple[str, ...] = ()
    """Origins that browsers may call from, as a JSON list; none by default."""
    max_body_bytes: int = Field(default=1 << 20, ge=1024)
    """Longest body of a request; a longer one gets 413."""
    keep_alive: Duration = Field(default=timedelta(seconds=15), gt=timedelta(0))
    """A stream that has nothing to say sends a comment this often."""
    live_queue: int = Field(default=256, ge=1)
    """Frames that may wait for a slow WebSocket client before it is sent away."""
    profile: Profile = Field(
        default="development",
        validation_alias="SWARMSTATE_PROFILE",
    )
    """`development` adds the pages /docs and /redoc; `production` refuses lax settings."""

    @model_validator(mode="after")
    def _strict_in_production(self) -> ApiSettings:
        if self.profile == "production" and "*" in self.cors_origins:
            raise ValueError(
                "SWARMSTATE_API_CORS_ORIGINS must list origins in production; it holds '*'"
            )
        return self
