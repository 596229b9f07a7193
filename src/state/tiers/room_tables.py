"""The tables of rooms on LiveKit: what `tables.py` is for the rest."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Double,
    Identity,
    Index,
    Integer,
    PrimaryKeyConstraint,
    Table,
    Text,
    text,
)

from src.state.tiers.tables import metadata, moment

__all__ = ["finalised", "livekit_events", "metadata", "room_swarms", "rooms"]

rooms = Table(
    "rooms",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("conversation_id", Text, nullable=False),
    Column("open", Boolean, nullable=False),
    Column("version", BigInteger, nullable=False, server_default=text("1")),
    Column("created_by", Text, nullable=False),
    moment("created_at", default=True),
    moment("updated_at", default=True),
    Column("deleted_at", DateTime(timezone=True)),
    Column("sid", Text, nullable=False, server_default=text("''")),
    Column("began", BigInteger, nullable=False, server_default=text("0")),
    Column("over", Boolean, nullable=False, server_default=text("true")),
    Column("agent", Text, nullable=False, server_default=text("''")),
    Index(
        "rooms_conversation",
        "conversation_id",
        unique=True,
        postgresql_where=text("deleted_at IS NULL"),
    ),
    Index("rooms_live", "id", postgresql_where=text("NOT over")),
)

room_swarms = Table(
    "room_swarms",
    metadata,
    Column("room_id", Text, primary_key=True),
    Column("began", BigInteger, nullable=False),
    Column("dispatch_id", Text),
    moment("claimed_at", default=True),
    Column("ticket", BigInteger, Identity(always=False), nullable=False),
    Column("state", Text, nullable=False, server_default=text("'placed'")),
    *(moment(name, default=True) for name in ("enqueued_at", "deadline", "next_try")),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    *(Column(name, Text, nullable=False, server_default=text("''")) for name in ("why", "lost")),
    Column("anew", Boolean, nullable=False, server_default=text("false")),
    Index("room_swarms_queue", "state", "ticket", postgresql_where=text("state <> 'placed'")),
    Index("room_swarms_claimed", "claimed_at"),
)

livekit_events = Table(
    "livekit_events",
    metadata,
    Column("id", Text, primary_key=True),
    moment("at", default=True),
    Index("livekit_events_at", "at"),
)

finalised = Table(
    "finalised",
    metadata,
    Column("room_id", Text, nullable=False),
    Column("began", BigInteger, nullable=False),
    Column("conversation_id", Text, nullable=False),
    moment("ended_at", default=True),
    moment("due_at"),
    Column("claimed_at", DateTime(timezone=True)),
    Column("done_at", DateTime(timezone=True)),
    Column("seq", BigInteger),
    Column("turns", Integer, nullable=False, server_default=text("0")),
    Column("words", Integer, nullable=False, server_default=text("0")),
    Column("interruptions", Integer, nullable=False, server_default=text("0")),
    Column("duration_s", Double, nullable=False, server_default=text("0")),
    Column("talk_s", Double, nullable=False, server_default=text("0")),
    PrimaryKeyConstraint("room_id", "began"),
    Index("finalised_due", "due_at", postgresql_where=text("done_at IS NULL")),
    Index("finalised_conversation", "conversation_id", "seq"),
)
