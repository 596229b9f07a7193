"""PostgreSQL fails over to an asynchronous standby, under load."""

from __future__ import annotations

from src.embedded import open_servers
from tests.prove.act import Act, Place, Result
from tests.support.failover import perform

_ELSEWHERE = "postgresql://nobody@127.0.0.1:1/none"
"""The act has two PostgreSQLs of its own, so none is started for it here."""
_TIMES = 3


async def _failovers(place: Place) -> Result:
    acked = lost = told = 0
    for number in range(_TIMES):
        folder = place.folder / f"{number + 1}"
        folder.mkdir()
        with open_servers(folder / "redis", database_url=_ELSEWHERE, durable=False) as stores:
            failover = await perform(stores.redis_url, folder)
        acked += failover.acked
        lost += len(failover.lost)
        told += len(failover.told)
        place.tell(f"{number + 1} of {_TIMES}: {failover}")
    note = (
        f"{_TIMES} failovers to an asynchronous standby that lagged behind: {lost} conversations "
        f"lost acknowledged turns, and all {told} were named; {acked} turns were acknowledged, no "
        "version was given twice, and nothing was lost after the failover"
    )
    return Result(
        counts={"failovers": _TIMES, "cut_short": lost, "cut_short_and_told": told},
        notes=[note],
    )


ACTS = (Act("failover", "postgres", _failovers, about_s=120),)
