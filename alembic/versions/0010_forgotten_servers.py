"""Servers that were forgotten although they owned something: nobody looked for that any more.

Dead again, each is looked after by every server that starts.
"""

from __future__ import annotations

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        INSERT INTO servers (id, url, dead_at)
        SELECT DISTINCT owner_id, '', now() FROM conversations
        WHERE owner_id IS NOT NULL
            AND NOT EXISTS (SELECT FROM servers WHERE servers.id = conversations.owner_id)
        ON CONFLICT DO NOTHING
        """
    )


def downgrade() -> None:
    pass
