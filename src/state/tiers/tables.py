"""The tables of L3 as SQLAlchemy metadata: Alembic's target and the shape that lists query.

Hot statements (log, snapshots, tails) are plain SQL in `tiers/`; the migration test holds this
file and the migrations to each other. Bodies are the JSON bytes that L2 and HTTP use too.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

metadata = MetaData()

EVENT_PARTITIONS = 8


def moment(name: str, *, default: bool = False) -> Column[object]:
    return Column(
        name,
        DateTime(timezone=True),
        nullable=False,
        server_default=func.now() if default else None,
    )


servers = Table(
    "servers",
    metadata,
    Column("id", Text, primary_key=True),
    Column("url", Text, nullable=False),
    Column("roles", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    Column("capacity", Integer, nullable=False, server_default=text("0")),
    Column("load", Integer, nullable=False, server_default=text("0")),
    Column("beat", BigInteger, nullable=False, server_default=text("0")),
    Column("announces", Boolean, nullable=False, server_default=text("true")),
    Column("dead_at", DateTime(timezone=True)),
    moment("started_at", default=True),
    # The beat is rewritten every 2 s for ever: room on the page keeps those updates in place.
    postgresql_with={"fillfactor": "50"},
)

conversations = Table(
    "conversations",
    metadata,
    Column("id", Text, primary_key=True),
    Column("owner_id", Text),
    Column("epoch", BigInteger, nullable=False),
    Column("seq", BigInteger, nullable=False),
    moment("created_at", default=True),
    Index("conversations_owner", "owner_id"),
    postgresql_with={"fillfactor": "50"},
)

events = Table(
    "events",
    metadata,
    Column("conversation_id", Text, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("event_id", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("schema", Integer, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("actor", Text, nullable=False),
    moment("occurred_at"),
    PrimaryKeyConstraint("conversation_id", "seq", name="events_pkey"),
    UniqueConstraint("conversation_id", "event_id", name="events_event_id"),
    postgresql_partition_by="HASH (conversation_id)",
)

snapshots = Table(
    "snapshots",
    metadata,
    Column("conversation_id", Text, primary_key=True),
    Column("epoch", BigInteger, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("schema", Integer, nullable=False),
    Column("body", LargeBinary, nullable=False),
)

conversation_summaries = Table(
    "conversation_summaries",
    metadata,
    Column("conversation_id", Text, primary_key=True),
    Column("seq", BigInteger, nullable=False),
    Column("status", Text, nullable=False),
    Column("goal", Text, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("members", ARRAY(Text), nullable=False),
    Column("turns", BigInteger, nullable=False),
    Column("last_text", Text, nullable=False),
    moment("created_at"),
    moment("updated_at"),
    Column("live", Boolean, nullable=False, server_default=text("false")),
    Column("live_seq", BigInteger),
    Index("conversation_summaries_members", "members", postgresql_using="gin"),
    Index("conversation_summaries_created", "created_at", "conversation_id"),
)

configs = Table(
    "configs",
    metadata,
    Column("kind", Text, nullable=False),
    Column("id", Text, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("schema", Integer, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("deleted", Boolean, nullable=False, server_default=text("false")),
    Column("grouping", Text),
    Column("updated_by", Text, nullable=False),
    moment("created_at", default=True),
    moment("updated_at", default=True),
    PrimaryKeyConstraint("kind", "id", name="configs_pkey"),
    Index("configs_grouping", "kind", "grouping", "id"),
)

config_history = Table(
    "config_history",
    metadata,
    Column("kind", Text, nullable=False),
    Column("id", Text, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("schema", Integer, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("deleted", Boolean, nullable=False),
    Column("actor", Text, nullable=False),
    moment("at", default=True),
    PrimaryKeyConstraint("kind", "id", "version", name="config_history_pkey"),
)

outbox = Table(
    "outbox",
    metadata,
    Column("position", BigInteger, Identity(always=True), primary_key=True),
    Column("kind", Text, nullable=False),
    Column("id", Text, nullable=False),
    Column("version", BigInteger, nullable=False),
    moment("at", default=True),
)

quarantine = Table(
    "quarantine",
    metadata,
    Column("position", BigInteger, Identity(always=True), primary_key=True),
    Column("kind", Text, nullable=False),
    Column("aggregate_id", Text, nullable=False),
    Column("event_id", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("why", Text, nullable=False),
    moment("at", default=True),
)

first_answers = Table(
    "first_answers",
    metadata,
    Column("key", Text, primary_key=True),
    Column("fingerprint", LargeBinary, nullable=False),
    Column("answer", LargeBinary),
    moment("at", default=True),
    Index("first_answers_at", "at"),
)

duties = Table(
    "duties",
    metadata,
    Column("name", Text, primary_key=True),
    Column("owner_id", Text, nullable=False),
    Column("epoch", BigInteger, nullable=False),
)

files = Table(
    "files",
    metadata,
    Column("id", Text, primary_key=True),
    Column("conversation_id", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("bytes", BigInteger, nullable=False, server_default=text("0")),
    Column("sha256", Text, nullable=False, server_default=text("''")),
    Column("created_by", Text, nullable=False),
    moment("created_at", default=True),
    Column("state", Text, nullable=False, server_default=text("'uploading'")),
    Column("upload_key", Text),
    Column("recording", JSONB),
    UniqueConstraint("upload_key", name="files_upload_key"),
    Index("files_conversation", "conversation_id", "id"),
    # What the sweep looks for; nearly no row is in it.
    Index("files_unready", "id", postgresql_where=text("state <> 'ready'")),
)

webhooks = Table(
    "webhooks",
    metadata,
    Column("id", Text, primary_key=True),
    Column("url", Text, nullable=False),
    Column("kinds", ARRAY(Text), nullable=False),
    Column("ids", ARRAY(Text), nullable=False),
    Column("active", Boolean, nullable=False),
    Column("secret", LargeBinary, nullable=False),
    Column("previous_secret", LargeBinary),
    Column("rotated_at", DateTime(timezone=True)),
    Column("position", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("failing_since", DateTime(timezone=True)),
    Column("next_try", DateTime(timezone=True)),
    Column("reason", Text, nullable=False, server_default=text("''")),
    Column("version", BigInteger, nullable=False),
    Column("created_by", Text, nullable=False),
    moment("created_at", default=True),
    moment("updated_at", default=True),
    # The place moves with every message.
    postgresql_with={"fillfactor": "50"},
)

webhook_deliveries = Table(
    "webhook_deliveries",
    metadata,
    Column("number", BigInteger, Identity(always=True), primary_key=True),
    Column("webhook_id", Text, nullable=False),
    Column("message_id", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("status", Text, nullable=False),
    Column("http_status", Integer),
    Column("error", Text, nullable=False),
    Column("next_try", DateTime(timezone=True)),
    moment("at", default=True),
    Index("webhook_deliveries_of", "webhook_id", "number"),
    Index("webhook_deliveries_at", "at"),
)

users = Table(
    "users",
    metadata,
    Column("id", Text, primary_key=True),
    Column("email", Text, unique=True),
    Column("name", Text, nullable=False),
    Column("roles", ARRAY(Text), nullable=False),
    Column("status", Text, nullable=False),
    Column("password", Text),
    Column("profile", LargeBinary, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("not_before", BigInteger, nullable=False, server_default=text("0")),
    moment("created_at", default=True),
    moment("updated_at", default=True),
    Index("users_not_before", "not_before"),
)

refresh_tokens = Table(
    "refresh_tokens",
    metadata,
    Column("hash", LargeBinary, primary_key=True),
    Column("session_id", Text, nullable=False),
    Column("user_id", Text, nullable=False),
    moment("expires_at"),
    Column("replaced_at", DateTime(timezone=True)),
    Index("refresh_tokens_session", "session_id"),
    Index("refresh_tokens_user", "user_id"),
    Index("refresh_tokens_expires", "expires_at"),
)

revoked_tokens = Table(
    "revoked_tokens",
    metadata,
    Column("id", Text, primary_key=True),
    Column("until", BigInteger, nullable=False),
    Index("revoked_tokens_until", "until"),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("hash", LargeBinary, nullable=False, unique=True),
    Column("hint", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("roles", ARRAY(Text), nullable=False),
    Column("created_by", Text, nullable=False),
    moment("created_at", default=True),
    Column("expires_at", DateTime(timezone=True)),
)
