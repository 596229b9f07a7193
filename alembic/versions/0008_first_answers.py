"""First answers to requests with a key."""

from __future__ import annotations

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        "CREATE TABLE first_answers (key text PRIMARY KEY, fingerprint bytea NOT NULL, "
        "answer bytea, at timestamptz NOT NULL DEFAULT now())"
    )
    op.execute("CREATE INDEX first_answers_at ON first_answers (at)")


def downgrade() -> None:
    op.execute("DROP TABLE first_answers")
