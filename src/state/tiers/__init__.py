"""The stores themselves: in memory, in Redis and in PostgreSQL, each behind a protocol."""
