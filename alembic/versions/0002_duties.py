"""Who does what for all servers."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        "CREATE TABLE duties (name text PRIMARY KEY, owner_id text NOT NULL, epoch bigint NOT NULL)"
    )


def downgrade() -> None:
    op.execute("DROP TABLE duties")
