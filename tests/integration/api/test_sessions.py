"""Sessions saved over HTTP: whole, once, on any server, whatever was logged before."""

from __future__ import annotations

from typing import Any

from src.api.auth.principals import Role
from tests.integration.api.begun import ROOM, begin
from tests.support.api import RunningServer

SAVE = "/api/v1/sessions/save"


def session(*texts: str, **fields: Any) -> dict[str, Any]:
    messages = [
        {"role": role, "text": text}
        for text, role in zip(texts, ("user", "assistant") * len(texts), strict=False)
    ]
    return {
        "conversation_id": "c-1",
        "messages": messages,
        "participants": {"zoe": {"name": "Zoe"}, "ada": {"kind": "bot", "name": "Ada"}},
        "duration": 12.5,
    } | fields


async def test_session_adds_what_was_not_logged_while_it_lasted(
    pair: tuple[RunningServer, RunningServer],
) -> None:
    one, two = pair
    people = [
        {"id": "zoe", "kind": "person", "name": "Zoe"},
        {"id": "ada", "kind": "bot", "name": "Ada"},
    ]
    async with one.as_("worker", Role.SERVICE) as here, two.as_("worker", Role.SERVICE) as there:
        await begin(here, participants=people)
        for number in range(60):
            turn = {"user_message": f"question {number}", "assistant_message": f"answer {number}"}
            await here.post(
                "/api/v1/conversations/save-turn", json={"conversation_id": "c-1", **turn}
            )
        texts = [f"{kind} {number}" for number in range(60) for kind in ("question", "answer")]
        whole = session(*texts, "thank you", "my pleasure")

        saved = await there.post(SAVE, json=whole)
        again = await here.post(SAVE, json=whole, headers={"Idempotency-Key": "another"})
        seen = {"X-Swarm-Version": saved.json()["version"]}
        page = (await here.get(f"{ROOM}/messages", params={"limit": 200}, headers=seen)).json()
        events = (await here.get(f"{ROOM}/events", params={"after": 100, "limit": 1000})).json()

    assert (saved.status_code, again.status_code) == (200, 200), saved.text
    assert again.json() == saved.json() | {"repeated": True}
    assert [turn["text"] for turn in reversed(page["messages"])] == [
        *texts,
        "thank you",
        "my pleasure",
    ]
    last = events["events"][-1]
    assert (last["type"], last["data"]["id"]) == ("session_saved", saved.json()["summary_id"])
    assert (last["data"]["duration_s"], last["data"]["added"]) == (12.5, 2)


async def test_session_brings_its_members(server: RunningServer) -> None:
    async with server.as_("worker", Role.SERVICE) as worker:
        await begin(worker, participants=[])
        saved = await worker.post(SAVE, json=session("hello", "hello yourself"))
        state = (await worker.get(ROOM)).json()

    assert saved.json()["status"] == "saved"
    assert [(turn["author"]["id"], turn["text"]) for turn in state["messages"]] == [
        ("zoe", "hello"),
        ("ada", "hello yourself"),
    ]


async def test_sessions_are_saved_by_workers_into_what_there_is(server: RunningServer) -> None:
    async with server.as_("zoe") as zoe, server.as_("worker", Role.SERVICE) as worker:
        await begin(zoe)
        forbidden = await zoe.post(SAVE, json=session("hello"))
        missing = await worker.post(SAVE, json=session("hello", conversation_id="none"))
        wrong = await worker.post(SAVE, json=session("hello", duration=-1))

    assert (forbidden.status_code, missing.status_code, wrong.status_code) == (403, 404, 422)
    assert wrong.json()["errors"][0]["field"] == "duration"
