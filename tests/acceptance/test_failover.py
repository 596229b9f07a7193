"""PostgreSQL fails over to an asynchronous standby: what that had not received is lost and named,
and nothing else is.
"""

from __future__ import annotations

from pathlib import Path

from tests.support.failover import perform
from tests.support.stage import Tell


async def test_what_a_failover_loses_is_named_and_the_rest_goes_on_unforked(
    redis_url: str, tmp_path: Path, tell: Tell
) -> None:
    tell(str(await perform(redis_url, tmp_path)))
