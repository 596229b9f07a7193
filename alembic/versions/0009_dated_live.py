"""Which rows say for certain whether a conversation needs an owner while nobody writes to it."""

from __future__ import annotations

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE conversation_summaries ADD COLUMN live_seq bigint")


def downgrade() -> None:
    op.execute("ALTER TABLE conversation_summaries DROP COLUMN live_seq")
