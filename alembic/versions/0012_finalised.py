"""The lives of rooms that have ended: each is summarised once."""

from __future__ import annotations

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE finalised (
            room_id text NOT NULL,
            began bigint NOT NULL,
            conversation_id text NOT NULL,
            ended_at timestamptz NOT NULL DEFAULT now(),
            due_at timestamptz NOT NULL,
            claimed_at timestamptz,
            done_at timestamptz,
            seq bigint,
            turns integer NOT NULL DEFAULT 0,
            words integer NOT NULL DEFAULT 0,
            interruptions integer NOT NULL DEFAULT 0,
            duration_s double precision NOT NULL DEFAULT 0,
            talk_s double precision NOT NULL DEFAULT 0,
            PRIMARY KEY (room_id, began)
        )
        """
    )
    op.execute("CREATE INDEX finalised_due ON finalised (due_at) WHERE done_at IS NULL")
    op.execute("CREATE INDEX finalised_conversation ON finalised (conversation_id, seq)")


def downgrade() -> None:
    op.execute("DROP TABLE finalised")
