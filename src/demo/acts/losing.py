"""Servers that stop: one paused for too long, one killed with writes in flight."""

from __future__ import annotations

import asyncio
import time

import aiohttp

from src.demo.acts.dialogue import ROOM
from src.demo.client import Client, say_until_acked
from src.demo.outside import faults
from src.demo.promises import Name, Promise
from src.demo.stage import PEOPLE, Stage

_TAKEOVER_WITHIN_S = 25.0
_HELD_WRITES = 5
_HELD_S = 40.0
_WRITERS = 24
_TURNS_EACH = 8
_KILL_AFTER_TURNS = _WRITERS * 2
_IN_FLIGHT = 20
_AIMS = 5
_HELD_BACK_S = 0.7
"""Shorter than a server waits for Redis: then it would announce over PostgreSQL, and ack."""
_POLL_S = 0.01


async def paused_owner_is_fenced(stage: Stage) -> Promise:
    """Pause the owner until the other server has taken over, then let it go on."""
    expected = "0 events of the old epoch after the takeover; every acked turn there, once"
    room = "demo-paused"
    people = [{"id": f"w{n}", "kind": "person", "name": f"W{n}"} for n in range(_HELD_WRITES)]
    await stage.a.begin(room, [*PEOPLE, *people])
    for number in range(3):
        await stage.a.say(room, "zoe", f"Before the pause, {number}.", f"before-{number}")
    # Now: acknowledged and not yet flushed.
    old_epoch, _ = await stage.outside.head(room)
    stage.process_a.pause()
    stage.audience.note("server A is paused (SIGSTOP); turns for it wait in its socket")
    began = time.perf_counter()
    # New connections: one that was idle for as long as the pause lasts would only be closed.
    timeout = aiohttp.ClientTimeout(total=_HELD_S)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        servers = (stage.a.over(session), stage.b)
        try:
            held = [
                asyncio.create_task(
                    say_until_acked(servers, room, f"w{n}", f"Sent while paused, {n}.", f"held-{n}")
                )
                for n in range(_HELD_WRITES)
            ]
            taken = await stage.outside.new_epoch(room, old_epoch, _TAKEOVER_WITHIN_S)
        finally:
            stage.process_a.resume()
        took_s = time.perf_counter() - began
        await asyncio.gather(*held)
    if taken is None:
        found = f"nobody took over within {took_s:.0f} s"
        return Promise(Name.FENCED, False, expected, found)
    stage.figures["takeover_after_pause_s"] = round(took_s, 2)
    stage.audience.note(f"server B took over after {took_s:.1f} s; server A is back")
    log = await stage.outside.log(room)
    late = [row for row in log if row.seq > taken[1] and row.epoch <= old_epoch]
    wrong = faults(stage.ledger.of(room), log)
    acked = len(stage.ledger.of(room))
    found = (
        f"{len(late)} late events, {acked} of {acked} acked turns; B took over in {took_s:.1f} s"
    )
    if wrong:
        found = f"{len(late)} late events; {len(wrong)} faults: {wrong[0]}"
    return Promise(Name.FENCED, not late and not wrong, expected, found)


async def killed_owner_loses_nothing(stage: Stage) -> Promise:
    """Kill the owner while two dozen people speak, between log and ack; they go on, same keys."""
    expected = f">= {_IN_FLIGHT} writes in flight, all acked turns there once, in order, served on"
    room = "demo-killed"
    people = [{"id": f"p{n}", "kind": "person", "name": f"P{n}"} for n in range(_WRITERS)]
    await stage.a.begin(room, people)
    owner_epoch, _ = await stage.outside.head(room)
    enough = asyncio.Event()
    before = len(stage.ledger.turns)
    writers = [
        asyncio.create_task(_speak(stage, room, f"p{n}", before, enough)) for n in range(_WRITERS)
    ]
    await enough.wait()
    in_flight, unheard = await _kill_between_log_and_ack(stage, room)
    killed = time.perf_counter()
    stage.audience.note(
        f"kill -9 of server A, the owner, with {in_flight} writes in flight, "
        f"{unheard} of them logged and not yet acknowledged"
    )
    await asyncio.gather(*writers)
    turns = stage.ledger.of(room)
    # What carries a newer epoch was decided by the new owner.
    serving_s = min(turn.at for turn in turns if turn.version[0] > owner_epoch) - killed
    alive = await _swarm_goes_on(stage)
    wrong, acked = faults(turns, await stage.outside.log(room)), len(turns)
    stage.figures["in_flight_at_kill"] = in_flight
    stage.figures["logged_unacked_at_kill"] = unheard
    stage.figures["serving_again_s"] = round(serving_s, 2)
    found = f"{in_flight} in flight, {acked} of {acked} turns, served again after {serving_s:.1f} s"
    if wrong:
        found = f"{len(wrong)} faults: {wrong[0]}"
    elif not alive:
        found += ", but the bots fell silent"
    kept = in_flight >= _IN_FLIGHT and alive and not wrong and acked == _WRITERS * _TURNS_EACH
    return Promise(Name.SURVIVES_KILL, kept, expected, found)


async def _kill_between_log_and_ack(stage: Stage, room: str) -> tuple[int, int]:
    """Kill the owner with as many acks as can be held back by Redis, which has to be told first.

    Returns the writes in flight, and how many of them are logged.
    """
    unheard = 0
    for _ in range(_AIMS):
        async with stage.outside.writes_to_redis_held(_HELD_BACK_S):
            unheard = await _logged_and_not_acked(stage, room)
            if unheard >= _IN_FLIGHT:
                in_flight = stage.ledger.in_flight
                stage.process_a.kill()
                return in_flight, unheard
    stage.process_a.kill()
    return stage.ledger.in_flight, unheard


async def _logged_and_not_acked(stage: Stage, room: str) -> int:
    """Wait until the log has a turn of nearly everybody that nobody was told of; return how many.

    No ack is sent while no announcement is made, and the log goes on.
    """
    deadline = time.perf_counter() + _HELD_BACK_S
    while True:
        log = await stage.outside.log(room)
        acked = {turn.key for turn in stage.ledger.of(room)}
        turns = [row.event_id.rpartition(":")[0] for row in log if row.text]
        unheard = sum(key not in acked for key in turns)
        if unheard >= _IN_FLIGHT or time.perf_counter() > deadline:
            return unheard
        await asyncio.sleep(_POLL_S)


async def _speak(stage: Stage, room: str, person: str, before: int, enough: asyncio.Event) -> None:
    """Say one turn after another on both servers, each until it is acknowledged."""
    servers: tuple[Client, ...] = (stage.a, stage.b)
    for number in range(_TURNS_EACH):
        key = f"{person}-{number}"
        await say_until_acked(servers, room, person, f"{person} says {number}.", key)
        servers = servers[::-1]
        if len(stage.ledger.turns) - before >= _KILL_AFTER_TURNS:
            enough.set()


async def _swarm_goes_on(stage: Stage) -> bool:
    """Ask a bot on the survivor; its conversation belonged to the dead server too, or to B."""
    key = "after-the-kill"
    spoken = stage.ledger.of(ROOM)
    if not spoken:
        return True
    await say_until_acked((stage.b,), ROOM, spoken[0].author, "@Ben, the budget?", key)
    return bool(await stage.b.reply(ROOM, key))
