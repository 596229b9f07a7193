"""What can happen to the stores of a cluster in memory beside what its links can do."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy

from tests.support.cluster import Cluster


@contextmanager
def lost_messages(cluster: Cluster) -> Iterator[None]:
    """Let what is published meanwhile reach no subscription."""
    space = cluster.space
    subscriptions, space.subscriptions = space.subscriptions, {}
    try:
        yield
    finally:
        space.subscriptions = subscriptions


@contextmanager
def lost_notices(cluster: Cluster) -> Iterator[None]:
    """Let what is notified meanwhile reach nobody who listens."""
    database = cluster.database
    listeners, database.listeners = database.listeners, {}
    try:
        yield
    finally:
        database.listeners = listeners


def standby(cluster: Cluster) -> Callable[[], None]:
    """Return what promotes an asynchronous standby that has received all up to now, and no more."""
    database = cluster.database
    names = ("heads", "events", "snapshots", "read_models")
    copies = {name: deepcopy(getattr(database, name)) for name in names}

    def promote() -> None:
        for name in names:
            tables = getattr(database, name)
            for table, rows in tables.items():
                # The servers hold the tables themselves.
                rows.clear()
                rows.update(copies[name].get(table, {}))
        database.timeline += 1

    return promote


def dump(cluster: Cluster) -> Callable[[], None]:
    """Return what restarts Redis from a dump that was written now."""
    space = cluster.space
    cells, counters = deepcopy(space.cells), deepcopy(space.counters)

    def restart() -> None:
        space.cells, space.counters = cells, counters
        space.restart()

    return restart
