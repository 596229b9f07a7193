"""Files of conversations: what is known of each; their bytes are in the blob store."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE files (
            id text PRIMARY KEY,
            conversation_id text NOT NULL,
            name text NOT NULL,
            type text NOT NULL,
            bytes bigint NOT NULL DEFAULT 0,
            sha256 text NOT NULL DEFAULT '',
            created_by text NOT NULL,
            created_at timestamptz NOT NULL DEFAULT now(),
            state text NOT NULL DEFAULT 'uploading',
            upload_key text,
            CONSTRAINT files_upload_key UNIQUE (upload_key)
        )
        """
    )
    op.execute("CREATE INDEX files_conversation ON files (conversation_id, id)")
    op.execute("CREATE INDEX files_unready ON files (id) WHERE state <> 'ready'")


def downgrade() -> None:
    op.execute("DROP TABLE files")
