"""Three bots and the people of a meeting in one conversation, posted on both servers in turn."""

from __future__ import annotations

import asyncio
import time

from src.demo.client import say_until_acked
from src.demo.errors import NotAnswered
from src.demo.meeting import BOTS, RESPONDER, Meeting, bot_body, person_id
from src.demo.outside import faults
from src.demo.promises import Name, Promise
from src.demo.stage import Stage, milliseconds

ROOM = "demo-room"
_REPLIES_WITHIN_S = 10.0
_SHOWN = 3
_PAUSE_S = 0.05
_EDITS = 3


async def play(stage: Stage, meeting: Meeting) -> None:
    """Create the bots, open the conversation, and say every turn of the meeting."""
    for bot_id in BOTS:
        await stage.a.request("POST", "/bots", bot_body(bot_id))
    people = [{"id": id, "kind": "person", "name": name} for id, name in meeting.people.items()]
    bots = [{"id": id, "kind": "bot", "name": str(body["name"])} for id, body in BOTS.items()]
    config = {"goal": meeting.meeting, "responder": RESPONDER}
    await stage.a.begin(ROOM, [*people, *bots], config, running=True)
    seconds, shown = [], _Shown(stage)
    for index, turn in enumerate(meeting.turns):
        server = (stage.a, stage.b)[index % 2]
        stage.audience.say(turn.speaker, server.name, turn.text)
        began = time.perf_counter()
        await say_until_acked(
            (server,), ROOM, person_id(turn.speaker), turn.text, f"turn-{index + 1}"
        )
        seconds.append(time.perf_counter() - began)
        # People pause between turns; so the bots' replies are seen where they belong.
        await asyncio.sleep(_PAUSE_S)
        await shown.replies()
        stage.audience.advance()
    await shown.until_silent()
    stage.figures["turns"] = len(meeting.turns)
    stage.figures["bot_replies"] = shown.count
    stage.figures["ack_p50_ms"], stage.figures["ack_worst_ms"] = milliseconds(seconds)


class _Shown:
    """The bots' replies that are on the screen already."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._seen: set[str] = set()

    @property
    def count(self) -> int:
        return len(self._seen)

    async def replies(self) -> None:
        """Show the replies that are new."""
        for message in reversed(await self._stage.a.messages(ROOM, 20)):
            author = message["author"]
            if author["kind"] == "bot" and message["id"] not in self._seen:
                self._seen.add(message["id"])
                self._stage.audience.say(author["name"], "bot", message["text"])

    async def until_silent(self) -> None:
        """Wait until no more replies come."""
        deadline = time.perf_counter() + _REPLIES_WITHIN_S
        seen = -1
        while seen != self.count and time.perf_counter() < deadline:
            seen = self.count
            await asyncio.sleep(0.3)
            await self.replies()


async def edited_bot_is_obeyed(stage: Stage) -> Promise:
    """Edit a bot over REST on B; ask it on A, where the swarm runs, and take its next reply."""
    expected = f"{_EDITS} of {_EDITS} next replies obey the edit, within 1 s"
    obeyed, seconds = 0, []
    for number in range(1, _EDITS + 1):
        answer = f"Edited on B, spoken on A: take {number}."
        script = {"rules": [{"when": "take", "say": answer}], "default": ""}
        edit = {"providers": {"options": {"llm": script}}}
        stage.audience.note(f"edit Ada on server B, ask her on server A ({number})")
        await stage.b.request("PATCH", "/bots/ada", edit)
        edited = time.perf_counter()
        key, person = f"take-{number}", await _somebody(stage)
        await stage.a.say(ROOM, person, "Ada, what is your take?", key)
        heard = await stage.a.reply(ROOM, key)
        seconds.append(time.perf_counter() - edited)
        obeyed += heard == answer
    median, worst = milliseconds(seconds)
    stage.figures["edit_obeyed_p50_ms"], stage.figures["edit_obeyed_worst_ms"] = median, worst
    found = f"{obeyed} of {_EDITS}, after {median} ms (worst {worst} ms)"
    kept = obeyed == _EDITS and worst < 1000
    return Promise(Name.HOT_RELOAD, kept, expected, found)


async def nothing_was_lost(stage: Stage) -> Promise:
    """Compare the client's ledger with the log, conversation by conversation."""
    wrong: list[str] = []
    conversations = dict.fromkeys(turn.conversation_id for turn in stage.ledger.turns)
    for conversation_id in conversations:
        log = await stage.outside.log(conversation_id)
        wrong += [
            f"{conversation_id}: {fault}" for fault in faults(stage.ledger.of(conversation_id), log)
        ]
    acked = len(stage.ledger.turns)
    found = f"{acked} of {acked}, over {len(conversations)} conversations, no gap in the numbers"
    if wrong:
        found = f"{len(wrong)} faults: " + "; ".join(wrong[:_SHOWN])
    stage.figures["acknowledged_turns"] = acked
    return Promise(Name.NOTHING_LOST, not wrong, f"all {acked} turns of the client's ledger", found)


async def _somebody(stage: Stage) -> str:
    """Return a person of the conversation."""
    for turn in stage.ledger.of(ROOM):
        return turn.author
    raise NotAnswered("nobody has spoken yet")
