"""Which conversations need an owner even while nobody writes to them.

Of rows that are there nobody knows: 0009 has a column that says so, which spares this table an
update of many rows while it is locked.
"""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE conversation_summaries ADD COLUMN live boolean NOT NULL DEFAULT false")


def downgrade() -> None:
    op.execute("ALTER TABLE conversation_summaries DROP COLUMN live")
