"""Ten thousand conversations dirty at once while PostgreSQL takes 3 s for each transaction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tests.prove.act import Act, Place, Result
from tests.prove.stores import open_own_stores
from tests.support.pressing import Pressed, press

_DIRTY = 10_000
_RED_BYTES = 128 << 20
_SETTINGS = {
    # Long enough to make so many dirty before the first of them is due.
    "SWARMSTATE_FLUSH_DEBOUNCE": "60s",
    "SWARMSTATE_FLUSH_MAX_WAIT": "60s",
    # Red is to last for some batches, though each is twice as large as the one before.
    "SWARMSTATE_RED_LATE": "15s",
    # Beats, ownership and appends take 3 s as well: that is slow here, and not away.
    "SWARMSTATE_STATEMENT_TIMEOUT": "10s",
    "SWARMSTATE_SUBMIT_TIMEOUT": "10s",
    "SWARMSTATE_OWNER_DEADLINE": "20s",
    "SWARMSTATE_DEAD_AFTER": "30s",
    "SWARMSTATE_IDLE_RELEASE": "10m",
}


async def _perform(place: Place) -> Result:
    async with open_own_stores(place) as stores:
        pressed = await press(
            stores.database_url,
            stores.redis_url,
            place.folder,
            # Some are flushed while the others are still being made dirty.
            conversations=_DIRTY + 1000,
            writers=200,
            slow_s=3.0,
            settings=_SETTINGS,
            tell=place.tell,
        )
    return Result(
        counts={
            "acked_turns": pressed.acked,
            "dirty_at_once": pressed.peak.dirty,
            "overloaded_answers": pressed.overloaded,
            "pressure_held_peak_bytes": pressed.peak.held_bytes,
            "pressure_rss_before_bytes": pressed.before.rss_bytes,
            "pressure_rss_peak_bytes": pressed.peak.rss_bytes,
            "pressure_rss_after_bytes": pressed.after.rss_bytes,
        },
        figures={"pressure_red_to_green_s": [pressed.recovery_s]},
        violations=list(_violations(pressed)),
        notes=[f"backpressure: {pressed}"],
    )


def _violations(pressed: Pressed) -> Iterator[str]:
    yield from map(str, pressed.violations)
    if tuple(pressed.colours[:3]) != ("green", "amber", "red") or pressed.colours[-1] != "green":
        yield f"colours were {' -> '.join(pressed.colours)}"
    if pressed.peak.dirty < _DIRTY:
        yield f"only {pressed.peak.dirty} conversations were dirty at once"
    if pressed.peak.held_bytes > _RED_BYTES:
        yield f"{pressed.peak.held_bytes} bytes were held, {_RED_BYTES} are the bound"
    if not pressed.overloaded:
        yield "nobody was refused while it was red"


ACTS: Sequence[Act] = (
    Act("pressure-slow-postgres", "pressure", _perform, about_s=240.0, alone=True),
)
