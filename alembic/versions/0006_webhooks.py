"""Who is told of changes by HTTP, and every try to tell them."""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE webhooks (
            id text PRIMARY KEY,
            url text NOT NULL,
            kinds text[] NOT NULL,
            ids text[] NOT NULL,
            active boolean NOT NULL,
            secret bytea NOT NULL,
            previous_secret bytea,
            rotated_at timestamptz,
            position bigint NOT NULL,
            attempts integer NOT NULL DEFAULT 0,
            failing_since timestamptz,
            next_try timestamptz,
            reason text NOT NULL DEFAULT '',
            version bigint NOT NULL,
            created_by text NOT NULL,
            created_at timestamptz NOT NULL DEFAULT now(),
            updated_at timestamptz NOT NULL DEFAULT now()
        ) WITH (fillfactor = 50)
        """
    )
    op.execute(
        """
        CREATE TABLE webhook_deliveries (
            number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            webhook_id text NOT NULL,
            message_id text NOT NULL,
            type text NOT NULL,
            position bigint NOT NULL,
            attempt integer NOT NULL,
            status text NOT NULL,
            http_status integer,
            error text NOT NULL,
            next_try timestamptz,
            at timestamptz NOT NULL DEFAULT now()
        )
        """
    )
    op.execute("CREATE INDEX webhook_deliveries_of ON webhook_deliveries (webhook_id, number)")
    op.execute("CREATE INDEX webhook_deliveries_at ON webhook_deliveries (at)")


def downgrade() -> None:
    op.execute("DROP TABLE webhooks, webhook_deliveries")
