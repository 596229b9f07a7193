"""Requests made from the OpenAPI document, with a token of each role, in every phase."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from functools import partial

from src.api.auth.principals import Role
from tests.prove.act import Act, Place, Result
from tests.prove.stores import open_own_stores
from tests.support.api import token
from tests.support.documented import documented_server, unreached
from tests.support.exploring import PHASES, Explored, explore

_SEEDS = (1, 2, 3)
_EXAMPLES = 4


async def _perform(place: Place, role: Role, seed: int) -> Result:
    # Coverage draws nothing: once is enough.
    phases = [one for one in PHASES if one != "coverage" or seed == _SEEDS[0]]
    place.tell(", ".join(phases))
    blobs = place.folder / "blobs"
    blobs.mkdir()
    async with (
        open_own_stores(place) as stores,
        documented_server(stores.database_url, stores.redis_url, blobs) as server,
    ):
        found = await asyncio.to_thread(
            explore,
            server.app.openapi(),
            server.url,
            token("zoe", role),
            maker=None if role is Role.ADMIN else token("ann", Role.ADMIN),
            leaver=token("yan", role),
            seed=seed,
            examples=_EXAMPLES,
            phases=phases,
        )
    return Result(
        counts={f"requests_{role}": sum(one.total() for one in found.statuses.values())},
        answers={
            operation: {f"{role} {status}": times for status, times in seen.items()}
            for operation, seen in found.statuses.items()
        },
        violations=list(_violations(found, role)),
        notes=[", ".join(phases)],
        seed=seed,
    )


def _violations(found: Explored, role: Role) -> Iterator[str]:
    yield from (f"{name}\n{story}" for name, story in found.failures.items())
    if role is Role.ADMIN:
        yield from (f"{operation}: never a 2xx" for operation in unreached(found))


ACTS: Sequence[Act] = [
    Act(
        f"openapi-{role}-{seed}",
        "openapi",
        partial(_perform, role=role, seed=seed),
        about_s=240.0 if seed == _SEEDS[0] else 90.0,
    )
    for role in Role
    for seed in _SEEDS
]
