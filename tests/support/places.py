"""Places for voice rooms, without a server that has them."""

from __future__ import annotations

from src.state.tiers.postgres import Pool


async def offer(pool: Pool, capacity: int, *, load: int = 0, server: str = "host") -> None:
    """Have a server in the table that hosts so many rooms and could host so many."""
    await pool.execute(
        "INSERT INTO servers (id, url, capacity, load) VALUES ($1, 'http://host', $2, $3) "
        "ON CONFLICT (id) DO UPDATE SET capacity = $2, load = $3, dead_at = NULL",
        server,
        capacity,
        load,
    )
