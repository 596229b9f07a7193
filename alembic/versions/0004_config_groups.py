"""What lists of configs are narrowed by."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE configs ADD COLUMN grouping text")
    op.execute("CREATE INDEX configs_grouping ON configs (kind, grouping, id)")


def downgrade() -> None:
    op.execute("DROP INDEX configs_grouping")
    op.execute("ALTER TABLE configs DROP COLUMN grouping")
