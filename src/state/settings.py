"""Settings of the state room. Each is read from `SWARMSTATE_<NAME>`; a bad one fails at start."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from src.state.durations import Duration


class StateSettings(BaseSettings):
    """Where the tiers are, how large they may grow, how long they may take."""

    model_config = SettingsConfigDict(env_prefix="SWARMSTATE_", extra="ignore", frozen=True)

    database_url: SecretStr
    """PostgreSQL, `postgresql://user:password@host:port/name`."""
    database_direct_url: SecretStr | None = None
    """The same database past a pooler such as pgbouncer: for beats, appends and LISTEN."""
    erase_database_url: SecretStr | None = None
    """The same database with a role that may delete events, for erasing; else the URL above."""
    redis_url: SecretStr
    """Redis >= 7.0, `redis://` or `rediss://`."""

    l1_entries: int = Field(default=1000, ge=1)
    """Entries that L1 holds, per kind."""
    l1_bytes: int = Field(default=256 * 1024 * 1024, ge=1 << 20)
    """Bytes of JSON that L1's entries may stand for, per kind."""
    l2_ttl: Duration = timedelta(minutes=15)
    """How long Redis keeps a body that nobody writes."""

    flush_debounce: Duration = timedelta(seconds=2)
    """A change is flushed this long after the last one ..."""
    flush_max_wait: Duration = timedelta(seconds=5)
    """... and this long after the first at the latest."""
    flush_max_events: int = Field(default=500, ge=1)
    """A conversation with this many unflushed events is flushed at once."""
    flush_max_bytes: int = Field(default=1 << 20, ge=1024)
    """The same in bytes of events."""
    flush_batch: int = Field(default=64, ge=1)
    """Conversations per flush transaction."""

    ack: Literal["logged", "buffered"] = "logged"
    """`buffered` acknowledges every command from memory: the plain write-behind, which may lose
    the last 2 s (5 s at most) of a server that dies."""

    beat_interval: Duration = timedelta(seconds=2)
    """How often a server says that it lives."""
    dead_after: Duration = timedelta(seconds=6)
    """A beat unchanged for this long makes its server dead."""
    owner_deadline: Duration = timedelta(seconds=5)
    """An owner whose last good beat was sent this long ago stops acting as one."""
    pull_interval: Duration = timedelta(milliseconds=500)
    """How often a server asks Redis and PostgreSQL what it may have missed."""
    pull_deadline: Duration = timedelta(milliseconds=1500)
    """Without a good pull for this long, entries owned elsewhere are suspect."""
    tail_interval: Duration = timedelta(milliseconds=5)
    """The log tail of one conversation is read at most this often per server."""
    idle_release: Duration = timedelta(seconds=60)
    """A conversation without commands for this long is given up by its owner."""

    idempotency_keep: Duration = Field(default=timedelta(days=1), ge=timedelta(minutes=5))
    """How long the answer to a POST outside conversations is given again for its key."""
    outbox_keep: Duration = Field(default=timedelta(days=7), ge=timedelta(hours=1))
    """How long a committed change of a config stays in the outbox, for readers who come back."""

    amber_late: Duration = Field(default=timedelta(seconds=5), gt=timedelta(0))
    """A change this much longer unflushed than `flush_max_wait` makes acks wait for a flush ..."""
    amber_bytes: int = Field(default=64 * 1024 * 1024, ge=1024)
    """... and so do this many bytes of what is dirty, buffered or waiting for the log."""
    red_late: Duration = timedelta(seconds=25)
    """A change so much too old makes new commands get 503 `overloaded` ..."""
    red_bytes: int = Field(default=128 * 1024 * 1024, ge=1024)
    """... and so does whatever would make more than this many bytes dirty, buffered or waiting."""
    max_loads: int = Field(default=6, ge=1)
    """Reads of states from L3 at once, so that cold ones leave connections to the rest ..."""
    max_waiting_loads: int = Field(default=2000, ge=0)
    """... and how many more may wait before a read gets 503 `overloaded`."""
    submit_timeout: Duration = timedelta(seconds=5)
    """How long a caller waits for the log before 503 `outcome_unknown`; an edit for its turn."""

    connect_timeout: Duration = timedelta(seconds=5)
    """Opening a connection to a store."""
    statement_timeout: Duration = timedelta(seconds=3)
    """Waiting for one answer of PostgreSQL."""
    redis_timeout: Duration = timedelta(seconds=1)
    """Waiting for one answer of Redis."""
    pool_size: int = Field(default=10, ge=2)
    """Connections to PostgreSQL beside those for beat, append and pull."""

    blobs_url: str | None = None
    """Where the bytes of files are: `file:///folder`, `s3://bucket/prefix`, `az://container/prefix`.
    Without it there are no files."""
    file_quota_bytes: int = Field(default=10 << 30, ge=1)
    """Bytes of files that a conversation may have."""
    uploads: int = Field(default=16, ge=1)
    """Uploads that a server takes at once, 24 MiB of memory each."""
    downloads: int = Field(default=256, ge=1)
    """Downloads that a server serves at once, some MiB of memory each."""
    upload_timeout: Duration = Field(default=timedelta(hours=1), gt=timedelta(0))
    """How long one upload may take."""
    stray_after: Duration = timedelta(days=1)
    """What an upload or a deletion left behind is swept away when it is this old."""

    @model_validator(mode="after")
    def _deadlines_in_order(self) -> StateSettings:
        """A server must stop acting as owner before anybody may declare it dead."""
        if not self.beat_interval < self.owner_deadline < self.dead_after:
            raise ValueError(
                "SWARMSTATE_BEAT_INTERVAL < SWARMSTATE_OWNER_DEADLINE < SWARMSTATE_DEAD_AFTER "
                f"must hold; got {self.beat_interval}, {self.owner_deadline}, {self.dead_after}"
            )
        if self.flush_debounce > self.flush_max_wait:
            raise ValueError("SWARMSTATE_FLUSH_DEBOUNCE must not exceed SWARMSTATE_FLUSH_MAX_WAIT")
        if not self.upload_timeout < self.stray_after:
            raise ValueError("SWARMSTATE_UPLOAD_TIMEOUT must be less than SWARMSTATE_STRAY_AFTER")
        if not self.amber_late < self.red_late:
            raise ValueError("SWARMSTATE_AMBER_LATE must be less than SWARMSTATE_RED_LATE")
        if not self.amber_bytes < self.red_bytes:
            raise ValueError("SWARMSTATE_AMBER_BYTES must be less than SWARMSTATE_RED_BYTES")
        return self
