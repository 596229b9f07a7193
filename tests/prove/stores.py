"""PostgreSQL and Redis of an act's own, which it may kill."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from src.embedded import Servers, open_servers
from src.state.tiers.migrations import migrate
from tests.prove.act import Place


@asynccontextmanager
async def open_own_stores(place: Place) -> AsyncIterator[Servers]:
    """Start both on ports of their own, with the release's tables; stop them at the end.

    Without fsync: what a killed server wrote stays with the kernel.
    """
    opened = open_servers(place.folder / "data", durable=False)
    servers = await asyncio.to_thread(opened.__enter__)
    try:
        await asyncio.to_thread(migrate, servers.database_url)
        yield servers
    finally:
        await asyncio.to_thread(opened.__exit__, None, None, None)
