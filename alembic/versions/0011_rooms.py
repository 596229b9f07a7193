"""Rooms on LiveKit, the swarms sent to them, and which of LiveKit's webhooks were heard."""

from __future__ import annotations

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE rooms (
            id text PRIMARY KEY,
            name text NOT NULL,
            conversation_id text NOT NULL,
            open boolean NOT NULL,
            version bigint NOT NULL DEFAULT 1,
            created_by text NOT NULL,
            created_at timestamptz NOT NULL DEFAULT now(),
            updated_at timestamptz NOT NULL DEFAULT now(),
            deleted_at timestamptz,
            sid text NOT NULL DEFAULT '',
            began bigint NOT NULL DEFAULT 0,
            over boolean NOT NULL DEFAULT true,
            agent text NOT NULL DEFAULT ''
        )
        """
    )
    op.execute(
        "CREATE UNIQUE INDEX rooms_conversation ON rooms (conversation_id) WHERE deleted_at IS NULL"
    )
    op.execute("CREATE INDEX rooms_live ON rooms (id) WHERE NOT over")
    op.execute(
        "CREATE TABLE room_swarms (room_id text PRIMARY KEY, began bigint NOT NULL, "
        "dispatch_id text, claimed_at timestamptz NOT NULL DEFAULT now())"
    )
    op.execute(
        "CREATE TABLE livekit_events (id text PRIMARY KEY, at timestamptz NOT NULL DEFAULT now())"
    )
    op.execute("CREATE INDEX livekit_events_at ON livekit_events (at)")


def downgrade() -> None:
    op.execute("DROP TABLE rooms, room_swarms, livekit_events")
