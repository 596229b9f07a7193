"""Configs through the client: each write a version, and each version told of."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest
from swarmstate_client import Change, Client, Conflict, NotFound, PreconditionFailed


async def test_versions_are_written_compared_and_put_back(swarm: Client, there: Client) -> None:
    made = await swarm.bots.create({"name": "Ada", "goal": "talk"}, id="ada")
    assert (made.version, made.body["goal"], made.updated_by) == (1, "talk", "root")
    patched = await swarm.bots.patch("ada", {"goal": "listen"}, if_match=made.version)
    with pytest.raises(PreconditionFailed):
        await there.bots.replace("ada", {"name": "Other"}, if_match=made.version)
    replaced = await there.bots.replace("ada", {**patched.body, "name": "Ada L."}, if_match=2)
    assert (replaced.version, replaced.body["goal"]) == (3, "listen")
    diff = await swarm.bots.diff("ada", 1)
    assert (diff.since, diff.to) == (1, 3)
    assert {(one.path, one.before, one.after) for one in diff.changes} == {
        ("goal", "talk", "listen"),
        ("name", "Ada", "Ada L."),
    }
    back = await swarm.bots.rollback("ada", 1, if_match=3)
    assert (back.version, back.body["name"]) == (4, "Ada")
    await swarm.bots.delete("ada", if_match=4)
    with pytest.raises(NotFound):
        await swarm.bots.get("ada")
    with pytest.raises(Conflict):
        await swarm.bots.create({"name": "Ada"}, id="ada")
    history = [(one.version, one.deleted) async for one in swarm.bots.history("ada", page=2)]
    assert history == [(5, True), (4, False), (3, False), (2, False), (1, False)]


async def test_every_kind_is_listed_page_by_page(swarm: Client) -> None:
    for id in ("one", "two", "three"):
        await swarm.subtopics.create({"topic": "fractions", "title": id}, id=id)
    await swarm.subtopics.create({"topic": "roots", "title": "four"}, id="four")
    found = [one.id async for one in swarm.subtopics.list(topic="fractions", page=2)]
    assert found == ["one", "three", "two"]
    await swarm.settings.create({"id": "limits", "value": {"tool_calls": 9}})
    await swarm.teams.create({"name": "T", "members": [{"bot": "ada"}]}, id="t")
    steps = [{"type": "wait", "seconds": 1}]
    await swarm.routines.create({"name": "R", "steps": steps}, id="r")
    for kind, id in ((swarm.settings, "limits"), (swarm.teams, "t"), (swarm.routines, "r")):
        assert [one.id async for one in kind.list()] == [id]
        assert (await kind.get(id)).version == 1


async def test_changes_are_told_from_any_server(swarm: Client, there: Client) -> None:
    await swarm.bots.create({"name": "Ada"}, id="ada")
    await swarm.teams.create({"name": "T"}, id="t")
    await swarm.bots.patch("ada", {"goal": "listen"})
    async with asyncio.timeout(20), aclosing(there.changes(kinds=["bot"], after=0)) as told:
        changes = [await anext(told), await anext(told)]
    assert [(one.kind, one.id, one.version) for one in changes if isinstance(one, Change)] == [
        ("bot", "ada", 1),
        ("bot", "ada", 2),
    ]
