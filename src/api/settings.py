"""Settings of the HTTP edge, each read from `SWARMSTATE_API_<NAME>`; a bad one fails at start."""

from __future__ import annotations

from datetime import timedelta
from ipaddress import ip_network
from typing import Literal

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from src.state.durations import Duration
from src.state.rates import RateSetting, parse_rate

Profile = Literal["development", "staging", "production"]

ROLES = ("admin", "editor", "member", "service", "viewer")
"""The roles, by name."""
_REGISTRATION = {"development": "open", "staging": "closed", "production": "closed"}


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
    refresh_lifetime: Duration = Field(default=timedelta(days=30), gt=timedelta(0))
    """How long after a login its session can be carried on without the password."""
    registration: Literal["open", "closed"] | None = None
    """Whether people may register themselves. Not set: in development they may."""
    password_threads: int = Field(default=2, ge=1, le=64)
    """Passwords hashed at once: each takes 19 MiB and tens of milliseconds of a processor."""
    jwks_url: str | None = None
    """Where an identity provider publishes its keys; its tokens are taken too then."""
    jwks_issuer: str | None = None
    """The `iss` that its tokens must have."""
    jwks_audience: str | None = None
    """The `aud` that its tokens must have."""
    jwks_roles_claim: str = Field(default="roles", min_length=1)
    """The claim with a caller's roles; dots lead inside, as in `realm_access.roles`."""
    jwks_roles: tuple[str, ...] = ()
    """What the provider's roles are here, as `theirs=ours`; empty: the names are the same."""
    verified_tokens: int = Field(default=10_000, ge=1)
    """Verified tokens that a server remembers, so that the next request costs a lookup."""
    cors_origins: tuple[str, ...] = ()
    """Origins that browsers may call from, as a JSON list; none by default."""
    max_body_bytes: int = Field(default=1 << 20, ge=1024)
    """Longest body of a request; a longer one gets 413."""
    max_file_bytes: int = Field(default=1 << 30, ge=1)
    """Longest file; a longer one gets 413."""
    file_types: tuple[str, ...] = (
        "application/json",
        "application/octet-stream",
        "application/pdf",
        "application/zip",
        "audio/*",
        "image/*",
        "text/*",
        "video/*",
    )
    """Media types of files that are taken, as a JSON list; `audio/*` stands for all of audio."""
    file_patience: Duration = Field(default=timedelta(seconds=30), gt=timedelta(0))
    """How long a file's transfer may stand still, and any other body may take to come."""
    keep_alive: Duration = Field(default=timedelta(seconds=15), gt=timedelta(0))
    """A stream that has nothing to say sends a comment this often."""
    live_queue: int = Field(default=256, ge=1)
    """Frames that may wait for a slow WebSocket client before it is sent away."""
    streams_per_caller: int = Field(default=20, ge=1)
    """Event streams and live sessions that one caller may have open on a server."""
    allowed_hosts: tuple[str, ...] = ()
    """Names by which clients may call, as a JSON list without ports; none: any."""
    trusted_proxies: tuple[str, ...] = ()
    """Addresses and networks of proxies, as a JSON list. The client of a request that comes from
    one is the last address in X-Forwarded-For that is none of them; of any other, the peer."""
    rate_limits: Literal["on", "off"] | None = None
    """Whether callers are held to the rates below; not set, they are but in development."""
    rate_user: RateSetting = parse_rate("60/1m")
    """Requests of one user, over all servers ..."""
    rate_address: RateSetting = parse_rate("100/1m")
    """... and from one address; an IPv6 address stands for its /64."""
    rate_sign_in: RateSetting = parse_rate("10/1m")
    """Attempts to get a token, from one address."""
    rate_account: RateSetting = parse_rate("30/1h")
    """Tries of passwords for one account, from addresses where nobody has logged in to it lately
    together; from each address where somebody has, as many."""
    rate_begin: RateSetting = parse_rate("20/1m")
    """Conversations and rooms that one user may begin."""
    rate_delete: RateSetting = parse_rate("5/1m")
    """Conversations and rooms that one user may delete."""
    rate_token: RateSetting = parse_rate("10/1m")
    """Tokens for rooms on LiveKit, from one address."""
    twilio_secret: SecretStr | None = Field(default=None, min_length=16)
    """The auth token of the Twilio account whose calls are taken: it signs them."""
    twilio_url: str | None = Field(default=None, pattern=r"^wss?://[^/\s?#]+/?$")
    """Where Twilio reaches us, without a path, as in `wss://voice.example.com`."""
    guests: Literal["allow", "refuse"] = "refuse"
    """Whether people without a token may enter rooms that are marked open."""
    profile: Profile = Field(
        default="development",
        validation_alias="SWARMSTATE_PROFILE",
    )
    """`development` adds the pages /docs and /redoc; `production` refuses lax settings."""

    @property
    def limits_rates(self) -> bool:
        """Whether requests are counted."""
        if self.rate_limits is None:
            return self.profile != "development"
        return self.rate_limits == "on"

    @field_validator("trusted_proxies")
    @classmethod
    def _are_networks(cls, given: tuple[str, ...]) -> tuple[str, ...]:
        for one in given:
            try:
                ip_network(one)
            except ValueError as error:
                raise ValueError(
                    f"SWARMSTATE_API_TRUSTED_PROXIES: {error}; write addresses or networks such as "
                    "10.0.0.0/8"
                ) from error
        return given

    @property
    def may_register(self) -> bool:
        """Whether people may register themselves."""
        return (self.registration or _REGISTRATION[self.profile]) == "open"

    @field_validator("jwks_roles")
    @classmethod
    def _are_pairs(cls, given: tuple[str, ...]) -> tuple[str, ...]:
        for one in given:
            theirs, _, ours = one.rpartition("=")
            if not theirs or ours not in ROLES:
                raise ValueError(
                    f"SWARMSTATE_API_JWKS_ROLES: {one!r} is not of the form theirs=ours, with one "
                    f"of {', '.join(ROLES)} on the right"
                )
        return given

    @model_validator(mode="after")
    def _twilio_is_whole(self) -> ApiSettings:
        if (self.twilio_secret is None) != (self.twilio_url is None):
            raise ValueError(
                "SWARMSTATE_API_TWILIO_SECRET and SWARMSTATE_API_TWILIO_URL need each other: set "
                "both, or none"
            )
        return self

    @model_validator(mode="after")
    def _provider_is_whole(self) -> ApiSettings:
        if self.jwks_url is None:
            return self
        if self.jwks_issuer is None or self.jwks_audience is None:
            raise ValueError(
                "SWARMSTATE_API_JWKS_URL needs SWARMSTATE_API_JWKS_ISSUER and "
                "SWARMSTATE_API_JWKS_AUDIENCE: tokens for somebody else must not be taken"
            )
        schemes = ("https://",) if self.profile == "production" else ("https://", "http://")
        if not self.jwks_url.startswith(schemes):
            raise ValueError("SWARMSTATE_API_JWKS_URL must begin with https://")
        return self

    @model_validator(mode="after")
    def _strict_in_production(self) -> ApiSettings:
        if self.profile == "production" and "*" in self.cors_origins:
            raise ValueError(
                "SWARMSTATE_API_CORS_ORIGINS must list origins in production; it holds '*'"
            )
        return self
