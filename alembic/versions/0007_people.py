"""People: users, their sessions, revoked tokens, and the keys of services."""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_TABLES = """
CREATE TABLE users (
    id text PRIMARY KEY,
    email text CONSTRAINT users_email_key UNIQUE,
    name text NOT NULL,
    roles text[] NOT NULL,
    status text NOT NULL,
    password text,
    profile bytea NOT NULL,
    version bigint NOT NULL,
    not_before bigint NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX users_not_before ON users (not_before);

CREATE TABLE refresh_tokens (
    hash bytea PRIMARY KEY,
    session_id text NOT NULL,
    user_id text NOT NULL,
    expires_at timestamptz NOT NULL,
    replaced_at timestamptz
);
CREATE INDEX refresh_tokens_session ON refresh_tokens (session_id);
CREATE INDEX refresh_tokens_user ON refresh_tokens (user_id);
CREATE INDEX refresh_tokens_expires ON refresh_tokens (expires_at);

CREATE TABLE revoked_tokens (
    id text PRIMARY KEY,
    until bigint NOT NULL
);
CREATE INDEX revoked_tokens_until ON revoked_tokens (until);

CREATE TABLE api_keys (
    id text PRIMARY KEY,
    hash bytea NOT NULL CONSTRAINT api_keys_hash_key UNIQUE,
    hint text NOT NULL,
    name text NOT NULL,
    roles text[] NOT NULL,
    created_by text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz
);
"""


def upgrade() -> None:
    for statement in _TABLES.split(";\n"):
        if statement.strip():
            op.execute(statement)


def downgrade() -> None:
    op.execute("DROP TABLE users, refresh_tokens, revoked_tokens, api_keys")
