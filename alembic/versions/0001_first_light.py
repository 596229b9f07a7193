"""Servers, conversations with their log, snapshots and read models, configs with their outbox."""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_PARTITIONS = 8

_TABLES = """
CREATE TABLE servers (
    id text PRIMARY KEY,
    url text NOT NULL,
    roles text[] NOT NULL DEFAULT '{}',
    capacity integer NOT NULL DEFAULT 0,
    load integer NOT NULL DEFAULT 0,
    beat bigint NOT NULL DEFAULT 0,
    announces boolean NOT NULL DEFAULT true,
    dead_at timestamptz,
    started_at timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 50);

CREATE TABLE conversations (
    id text PRIMARY KEY,
    owner_id text,
    epoch bigint NOT NULL,
    seq bigint NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 50);
CREATE INDEX conversations_owner ON conversations (owner_id);

CREATE TABLE events (
    conversation_id text NOT NULL,
    seq bigint NOT NULL,
    epoch bigint NOT NULL,
    event_id text NOT NULL,
    type text NOT NULL,
    schema integer NOT NULL,
    body bytea NOT NULL,
    actor text NOT NULL,
    occurred_at timestamptz NOT NULL,
    CONSTRAINT events_pkey PRIMARY KEY (conversation_id, seq),
    CONSTRAINT events_event_id UNIQUE (conversation_id, event_id)
) PARTITION BY HASH (conversation_id);

CREATE TABLE snapshots (
    conversation_id text PRIMARY KEY,
    epoch bigint NOT NULL,
    seq bigint NOT NULL,
    schema integer NOT NULL,
    body bytea NOT NULL
);

CREATE TABLE conversation_summaries (
    conversation_id text PRIMARY KEY,
    seq bigint NOT NULL,
    status text NOT NULL,
    goal text NOT NULL,
    created_by text NOT NULL,
    members text[] NOT NULL,
    turns bigint NOT NULL,
    last_text text NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);
CREATE INDEX conversation_summaries_members ON conversation_summaries USING gin (members);
CREATE INDEX conversation_summaries_created
    ON conversation_summaries (created_at, conversation_id);

CREATE TABLE configs (
    kind text NOT NULL,
    id text NOT NULL,
    version bigint NOT NULL,
    schema integer NOT NULL,
    body bytea NOT NULL,
    deleted boolean NOT NULL DEFAULT false,
    updated_by text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT configs_pkey PRIMARY KEY (kind, id)
);

CREATE TABLE config_history (
    kind text NOT NULL,
    id text NOT NULL,
    version bigint NOT NULL,
    schema integer NOT NULL,
    body bytea NOT NULL,
    deleted boolean NOT NULL,
    actor text NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT config_history_pkey PRIMARY KEY (kind, id, version)
);

CREATE TABLE outbox (
    position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind text NOT NULL,
    id text NOT NULL,
    version bigint NOT NULL,
    at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE quarantine (
    position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind text NOT NULL,
    aggregate_id text NOT NULL,
    event_id text NOT NULL,
    type text NOT NULL,
    body bytea NOT NULL,
    why text NOT NULL,
    at timestamptz NOT NULL DEFAULT now()
);

CREATE VIEW conversations_readable AS
    SELECT c.id, c.owner_id, c.epoch, c.seq, s.seq AS snapshot_seq,
           convert_from(s.body, 'UTF8')::jsonb AS state
    FROM conversations c LEFT JOIN snapshots s ON s.conversation_id = c.id;
CREATE VIEW events_readable AS
    SELECT conversation_id, seq, epoch, event_id, type, actor, occurred_at,
           convert_from(body, 'UTF8')::jsonb AS event
    FROM events;
"""

# lz4 costs a third of pglz on an 8 KB body; the PostgreSQL of some packages is built without it,
# and there storing the bytes as they are is the next best.
_COMPRESSION = """
DO $$
BEGIN
    ALTER TABLE snapshots ALTER COLUMN body SET COMPRESSION lz4;
EXCEPTION WHEN feature_not_supported THEN
    ALTER TABLE snapshots ALTER COLUMN body SET STORAGE EXTERNAL;
END $$
"""


def _statements(script: str) -> list[str]:
    return [statement for statement in script.split(";\n") if statement.strip()]


def upgrade() -> None:
    for statement in _statements(_TABLES):
        op.execute(statement)
    for remainder in range(_PARTITIONS):
        op.execute(
            f"CREATE TABLE events_p{remainder} PARTITION OF events "
            f"FOR VALUES WITH (MODULUS {_PARTITIONS}, REMAINDER {remainder})"
        )
    op.execute(_COMPRESSION)


def downgrade() -> None:
    op.execute("DROP VIEW conversations_readable, events_readable")
    op.execute(
        "DROP TABLE servers, conversations, events, snapshots, conversation_summaries, "
        "configs, config_history, outbox, quarantine"
    )
