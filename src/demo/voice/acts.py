"""The acts with voices: each plays one scene, and says whether its promise was kept."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from typing import Any

from src.demo.client import Client
from src.demo.errors import NotAnswered
from src.demo.person import Heard
from src.demo.promises import Name, Promise
from src.demo.stage import milliseconds
from src.demo.voice.stage import BOTS, COST, ENOUGH, PHRASES, PLAN, TELL, VoiceStage, script, until
from src.swarm.rooms.protocols import BOT_PREFIX

_OVERLAP_S = 0.02
_SILENT_S = 0.3
_OBEYED_S = 1.0
_HEARD_AGAIN_S = 10.0
_ANSWER_S = 20.0
_GIVEN_UP_S = 60.0
_SUMMARISED_S = 60.0
_PHRASE_S = 0.4
_EDITS = 3
_SHOWN = 3


async def bots_speak_one_after_another(stage: VoiceStage) -> Promise:
    """Ask all bots at once, twice; and time the way of a sound, and the beginning of an answer."""
    ways, waits, answers = [], [], 0
    for person, other in ((stage.zoe, stage.max), (stage.max, stage.zoe)):
        began = await stage.say(person, PLAN)
        answers += len(BOTS)
        ended = began + _PHRASE_S
        ways.append(other.heard[person.identity].first_after(began) - began)

        async def all_have_answered(wanted: int = answers) -> bool:
            turns = await stage.turns(stage.clients[0])
            return len(turns) - len(_of_people(turns)) == wanted

        await until(all_have_answered, _ANSWER_S, "an answer of each bot")
        first = stage.first_of_bots(ended)
        if first is None:
            raise NotAnswered("the bots have answered, and nobody heard them")
        waits.append(first - ended)
    for what, name, seconds in (
        ("mouth to ear, person to person", "mouth_to_ear", ways),
        ("first sound of an answer, after the person's last", "first_audio", waits),
    ):
        median, worst = milliseconds(seconds)
        stage.figures[f"{name}_p50_ms"], stage.figures[f"{name}_worst_ms"] = median, worst
        stage.audience.figure(what, f"{median:.0f} ms (worst {worst:.0f} ms)")
    pairs = combinations(stage.bots_heard, 2)
    overlap_ms = round(1000 * max(0.0, *(one.overlap(other) for one, other in pairs)), 1)
    stage.figures["overlap_ms"] = overlap_ms
    sounds = sum(len(heard.sounds) for heard in stage.bots_heard)
    found = f"{answers} answers in {sounds} stretches of sound, two at once for {overlap_ms} ms"
    kept = len(stage.bots_heard) == len(BOTS) and overlap_ms <= 1000 * _OVERLAP_S
    return Promise(Name.ONE_VOICE, kept, "at most 20 ms of two bots at once", found)


async def person_silences_the_bot(stage: VoiceStage) -> Promise:
    """Let Ada tell a long story, and let Max speak into it."""
    ada = await _telling(stage)
    began = await stage.say(stage.max, ENOUGH)
    if ada.sounds[-1][1] < began:
        raise NotAnswered("Ada was silent before anybody spoke")
    silent_ms = round(1000 * (ada.silent_after(began) - began))
    stage.figures["silent_after_ms"] = silent_ms

    async def both_are_turns() -> bool:
        turns = await stage.turns(stage.clients[0])
        cut = any(turn.get("interrupted") for turn in turns)
        return cut and any(turn["text"] == ENOUGH for turn in turns)

    await until(both_are_turns, _ANSWER_S, "the interrupted turn, and Max's own")
    found = f"Ada was silent {silent_ms} ms after Max began; her turn is kept as interrupted"
    kept = silent_ms <= 1000 * _SILENT_S
    return Promise(Name.BARGE_IN, kept, "silent within 300 ms, as heard", found)


async def edit_is_obeyed_aloud(stage: VoiceStage) -> Promise:
    """Edit a bot on the server that does not host the room; ask it in the room at once."""
    _, elsewhere = await stage.host()
    client = stage.clients[elsewhere]
    obeyed, seconds = 0, []
    for number in range(1, _EDITS + 1):
        await until(stage.silent, _ANSWER_S, "silence")
        answer = f"Take {number}."
        stage.audience.note(f"edit Ben on server {client.name}, ask him in the room ({number})")
        edit = {"providers": {"options": {"llm": script({"cost": answer})}}}
        await client.request("PATCH", "/bots/ben", edit)
        edited = time.monotonic()
        stage.said.append((stage.zoe.identity, COST))
        await stage.zoe.room.local_participant.send_text(COST, topic="lk.chat")
        await until(lambda at=edited: stage.first_of_bots(at) is not None, _ANSWER_S, "Ben's voice")
        seconds.append((stage.first_of_bots(edited) or edited) - edited)
        obeyed += await _last_answer(stage, client, number) == answer
    median, worst = milliseconds(seconds)
    stage.figures["edit_heard_p50_ms"], stage.figures["edit_heard_worst_ms"] = median, worst
    found = (
        f"{obeyed} of {_EDITS}, first sound {median:.0f} ms after the 200 (worst {worst:.0f} ms)"
    )
    expected = f"{_EDITS} of {_EDITS} next answers obey, heard within 1 s"
    kept = obeyed == _EDITS and worst <= 1000 * _OBEYED_S
    return Promise(Name.OBEYED_ALOUD, kept, expected, found)


async def every_turn_is_written_once(stage: VoiceStage) -> Promise:
    """Compare what was said and answered with what both servers show."""
    expected = f"{len(stage.said)} turns of people in order, each answer once, on both servers"

    async def all_are_there() -> bool:
        return [len(_of_people(await stage.turns(one))) for one in stage.clients] == (
            [len(stage.said)] * len(stage.clients)
        )

    try:
        await until(all_are_there, _ANSWER_S, "as many turns as were said")
    except NotAnswered:
        stage.audience.note("turns are missing, or too many")
    first, second = [await stage.turns(client) for client in stage.clients]
    wrong = faults(stage.said, first)
    if _spoken(first) != _spoken(second):
        wrong.append("the servers show different turns")
    answers = len(first) - len(_of_people(first))
    found = f"{len(stage.said)} turns and {answers} answers, with speakers and times"
    if wrong:
        found = f"{len(wrong)} faults: " + "; ".join(wrong[:_SHOWN])
    return Promise(Name.WRITTEN_ONCE, not wrong, expected, found)


async def bots_are_heard_again(stage: VoiceStage) -> Promise:
    """Kill the server that hosts the room in mid-sentence, and speak until a bot answers."""
    place, left = await stage.host()
    client = stage.clients[left]
    before = await stage.turns(client)
    stage.before_kill, stage.survivor = len(before), client
    await _telling(stage)

    async def is_noted() -> bool:
        state = await client.request("GET", f"/conversations/{stage.room_id}")
        return bool((state.get("speech") or {}).get("heard"))

    await until(is_noted, _ANSWER_S, "a note of what is heard")
    stage.servers[place].kill()
    killed = time.monotonic()
    stage.audience.note(f"server {stage.servers[place].name} is killed (SIGKILL); Zoe goes on")
    while stage.first_of_bots(killed) is None:
        if time.monotonic() > killed + _GIVEN_UP_S:
            raise NotAnswered(f"nobody answered for {_GIVEN_UP_S:.0f} s")
        # Until the next host hears her, nobody does.
        await stage.zoe.say(PHRASES[COST])
    took_s = round((stage.first_of_bots(killed) or killed) - killed, 2)
    stage.figures["heard_again_after_kill_s"] = took_s
    after = await stage.turns(client)
    there = sum(one == other for one, other in zip(_spoken(before), _spoken(after), strict=False))
    found = f"heard again after {took_s} s; {there} of {len(before)} earlier turns are there"
    kept = took_s <= _HEARD_AGAIN_S and there == len(before)
    expected = "heard again within 10 s, every earlier turn there"
    return Promise(Name.HEARD_AGAIN, kept, expected, found)


async def cut_turn_is_kept(stage: VoiceStage) -> Promise:
    """Look for what Ada was telling when her server was killed, on the one that is left."""
    client = stage.survivor
    cut: list[dict[str, Any]] = []

    async def is_there() -> bool:
        later = (await stage.turns(client))[stage.before_kill :]
        cut[:] = [turn for turn in later if turn.get("cut_off")]
        return bool(cut)

    await until(is_there, _ANSWER_S, "the turn that was cut off")
    told = cut[0]
    found = f"{len(cut)} turn of {told['author']['name']}, {told['spoken_until']} characters heard"
    whole = told["interrupted"] and 0 < told["spoken_until"] < len(told["text"])
    kept = len(cut) == 1 and whole and told["author"]["id"] == "ada"
    return Promise(Name.CUT_KEPT, kept, "1 turn of Ada, heard in part", found)


async def session_is_summarised_once(stage: VoiceStage) -> Promise:
    """End the room, and read what its session was."""
    client = stage.survivor
    path = f"/conversations/{stage.room_id}/sessions"
    kept: list[dict[str, Any]] = []

    async def is_there() -> bool:
        kept[:] = (await client.request("GET", path))["sessions"]
        return bool(kept)

    await client.request("DELETE", f"/rooms/{stage.room_id}")
    await until(is_there, _SUMMARISED_S, "what the session was")
    turns = len(await stage.turns(client))
    found = f"{len(kept)} summary, of {kept[0]['turns']} of {turns} turns"
    expected = "1 summary, of all turns"
    one = len(kept) == 1 and kept[0]["turns"] == turns
    return Promise(Name.SUMMARISED_ONCE, one, expected, found)


def faults(said: Sequence[tuple[str, str]], turns: Sequence[dict[str, Any]]) -> list[str]:
    """Return what is wrong with a conversation's turns, given what was said in it."""
    wrong = []
    people = [(turn["author"]["id"], turn["text"]) for turn in _of_people(turns)]
    if people != list(said):
        lost, more = Counter(said) - Counter(people), Counter(people) - Counter(said)
        wrong += [f"{who}'s {text!r} is not there" for who, text in lost.elements()]
        wrong += [f"{who}'s {text!r} is there too often" for who, text in more.elements()]
        wrong += [] if lost or more else ["turns are in another order"]
    ids = {turn["id"] for turn in _of_people(turns)}
    answers = Counter(
        (turn["author"]["id"], turn.get("reply_to"))
        for turn in turns
        if turn["author"]["kind"] == "bot"
    )
    wrong += [
        f"{bot} answered one turn {times} times" for (bot, _), times in answers.items() if times > 1
    ]
    wrong += [f"an answer of {bot} belongs to no turn" for bot, turn in answers if turn not in ids]
    wrong += [
        f"{turn['author']['id']}'s {turn['text']!r} ended before it began"
        for turn in turns
        if turn["started_at"] > turn["ended_at"]
    ]
    return wrong


async def _telling(stage: VoiceStage) -> Heard:
    """Have Ada tell her story, and return when a second of it was heard."""
    began = await stage.say(stage.zoe, TELL)

    def a_second_of_it() -> bool:
        heard = stage.zoe.heard.get(BOT_PREFIX + "ada", Heard())
        return sum(to - max(at, began) for at, to in heard.sounds if to > began) > 1.0

    await until(a_second_of_it, _ANSWER_S, "a second of Ada's story")
    return stage.zoe.heard[BOT_PREFIX + "ada"]


async def _last_answer(stage: VoiceStage, client: Client, number: int) -> str:
    """Return what Ben said last, when he has answered so often."""
    answers: list[str] = []

    async def is_there() -> bool:
        turns = await stage.turns(client)
        answers[:] = [turn["text"] for turn in turns if turn["author"]["id"] == "ben"]
        return sum(text.startswith("Take") for text in answers) >= number

    await until(is_there, _ANSWER_S, "Ben's edited answer")
    return answers[-1]


def _of_people(turns: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [turn for turn in turns if turn["author"]["kind"] == "person"]


def _spoken(turns: Sequence[dict[str, Any]]) -> list[tuple[str, str, str]]:
    return [(turn["id"], turn["author"]["id"], turn["text"]) for turn in turns]
