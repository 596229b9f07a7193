"""What a file is the recording of."""

from __future__ import annotations

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE files ADD COLUMN recording jsonb")


def downgrade() -> None:
    op.execute("ALTER TABLE files DROP COLUMN recording")
