"""Which conversations need an owner even while nobody writes to them."""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE conversation_summaries ADD COLUMN live boolean NOT NULL DEFAULT false")
    op.execute("UPDATE conversation_summaries SET live = true WHERE status = 'running'")


def downgrade() -> None:
    op.execute("ALTER TABLE conversation_summaries DROP COLUMN live")
