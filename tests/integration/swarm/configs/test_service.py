"""Configs on the real stores: versions, history, conflicts, and the next read on every server."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from functools import partial

import pytest
from pydantic import SecretStr

from src.state.configs import ConfigExists
from src.state.errors import NotFound, Refused, VersionConflict
from src.swarm.configs.bots import BotConfig
from src.swarm.configs.service import ConfigService
from src.swarm.configs.teams import TeamConfig
from src.swarm.runtime import open_runtime
from src.swarm.settings import RuntimeSettings, SwarmSettings
from tests.support.cluster_settings import eventually, settings

SECRET = SecretStr("a secret of tests, at least thirty-two characters")


@pytest.fixture
async def servers_of_two(
    database_url: str, redis_url: str
) -> AsyncIterator[tuple[ConfigService, ConfigService]]:
    """The configs as two servers see them."""
    async with AsyncExitStack() as stack:
        runtimes = []
        for port in (1, 2):
            swarm = SwarmSettings(server_url=f"http://127.0.0.1:{port}", internal_secret=SECRET)
            given = RuntimeSettings(settings(database_url, redis_url), swarm)
            runtimes.append(await stack.enter_async_context(open_runtime(given)))
        yield runtimes[0].service.configs, runtimes[1].service.configs


@pytest.fixture
def configs(servers_of_two: tuple[ConfigService, ConfigService]) -> ConfigService:
    return servers_of_two[0]


async def test_created_config_is_version_one_and_names_its_author(configs: ConfigService) -> None:
    record = await configs.create("bot", "scout", b'{"name": "Scout", "goal": "Find."}', "ada")
    assert (record.id, record.version, record.updated_by) == ("scout", 1, "ada")
    assert record.body == BotConfig("Scout", goal="Find.")
    read = await configs.get("bot", "scout")
    assert (read.version, read.body, read.deleted) == (1, record.body, False)


async def test_kinds_have_ids_of_their_own(configs: ConfigService) -> None:
    await configs.create("bot", "scout", b'{"name": "Scout"}', "ada")
    team = await configs.create("team", "scout", b'{"name": "Scouts"}', "ada")
    assert team.body == TeamConfig("Scouts")
    assert (await configs.get("bot", "scout")).body == BotConfig("Scout")


async def test_id_is_used_once(configs: ConfigService) -> None:
    await configs.create("bot", "scout", b'{"name": "Scout"}', "ada")
    with pytest.raises(ConfigExists, match="scout"):
        await configs.create("bot", "scout", b'{"name": "Other"}', "ben")
    await configs.delete("bot", "scout", "ada")
    with pytest.raises(ConfigExists):
        await configs.create("bot", "scout", b'{"name": "Other"}', "ben")


async def test_replacement_leaves_nothing_of_what_was_there(configs: ConfigService) -> None:
    await configs.create("bot", "scout", b'{"name": "Scout", "goal": "Find."}', "ada")
    record = await configs.replace("bot", "scout", b'{"name": "Scout II"}', "ben", 1)
    assert (record.version, record.updated_by) == (2, "ben")
    assert record.body == BotConfig("Scout II")


async def test_patch_changes_what_it_names_and_null_puts_the_default_back(
    configs: ConfigService,
) -> None:
    await configs.create("bot", "scout", b'{"name": "Scout", "goal": "Find.", "voice": "v"}', "ada")
    patch = {"goal": None, "role": "guide", "providers": {"llm": "some/model", "tts": "some/voice"}}
    record = await configs.patch("bot", "scout", patch, "ada")
    assert (record.body.goal, record.body.role, record.body.voice) == ("", "guide", "v")
    record = await configs.patch("bot", "scout", {"providers": {"llm": None}}, "ada")
    assert (record.body.providers.llm, record.body.providers.tts) == ("", "some/voice")


@pytest.mark.parametrize(
    ("data", "field"),
    [
        (b"{}", None),
        (b'{"name": "Scout", "colour": "red"}', None),
        (b'{"name": "Scout", "subscriptions": ["a/#/b"]}', "subscriptions[0]"),
    ],
)
async def test_body_that_is_not_accepted_changes_nothing(
    configs: ConfigService, data: bytes, field: str | None
) -> None:
    with pytest.raises(Refused):
        await configs.create("bot", "other", data, "ada")
    with pytest.raises(NotFound):
        await configs.get("bot", "other")
    await configs.create("bot", "scout", b'{"name": "Scout"}', "ada")
    with pytest.raises(Refused) as refusal:
        await configs.replace("bot", "scout", data, "ada")
    assert field is None or refusal.value.field == field
    with pytest.raises(Refused):
        await configs.patch("bot", "scout", {"mode": "asleep"}, "ada")
    assert (await configs.get("bot", "scout")).version == 1


async def test_change_that_was_decided_on_another_version_is_a_conflict(
    configs: ConfigService,
) -> None:
    await configs.create("bot", "scout", b'{"name": "Scout"}', "ada")
    await configs.patch("bot", "scout", {"role": "guide"}, "ada", 1)
    changes = (
        configs.replace("bot", "scout", b'{"name": "Late"}', "ben", 1),
        configs.patch("bot", "scout", {"name": "Late"}, "ben", 1),
        configs.delete("bot", "scout", "ben", 1),
        configs.patch("bot", "scout", {"name": "Early"}, "ben", 3),
    )
    for change in changes:
        with pytest.raises(VersionConflict) as conflict:
            await change
        assert conflict.value.found == 2
    record = await configs.get("bot", "scout")
    assert (record.version, record.body.name, record.deleted) == (2, "Scout", False)


async def test_one_of_many_changes_of_one_version_wins_on_whatever_server(
    servers_of_two: tuple[ConfigService, ConfigService],
) -> None:
    await servers_of_two[0].create("bot", "scout", b'{"name": "Scout"}', "ada")
    answers = await asyncio.gather(
        *(
            servers_of_two[number % 2].patch("bot", "scout", {"role": f"{number}"}, "ada", 1)
            for number in range(10)
        ),
        return_exceptions=True,
    )
    lost = [answer for answer in answers if isinstance(answer, VersionConflict)]
    (won,) = (answer for answer in answers if not isinstance(answer, BaseException))
    assert len(lost) == 9
    assert (won.version, (await servers_of_two[0].get("bot", "scout")).body) == (2, won.body)


async def test_changes_without_a_condition_are_all_taken_one_after_another(
    servers_of_two: tuple[ConfigService, ConfigService],
) -> None:
    await servers_of_two[0].create("bot", "scout", b'{"name": "Scout"}', "ada")
    records = await asyncio.gather(
        *(
            servers_of_two[number % 2].patch("bot", "scout", {"role": f"{number}"}, "ada")
            for number in range(10)
        )
    )
    assert sorted(record.version for record in records) == list(range(2, 12))
    history = await servers_of_two[0].history("bot", "scout", None, 20)
    assert {record.body.role for record in history} == {"", *(f"{n}" for n in range(10))}


async def test_deleted_config_is_gone_and_its_history_stays(configs: ConfigService) -> None:
    await configs.create("bot", "scout", b'{"name": "Scout"}', "ada")
    gone = await configs.delete("bot", "scout", "ben", 1)
    assert (gone.version, gone.deleted) == (2, True)
    with pytest.raises(NotFound):
        await configs.get("bot", "scout")
    for change in (
        configs.replace("bot", "scout", b'{"name": "Back"}', "ada"),
        configs.patch("bot", "scout", {"name": "Back"}, "ada"),
        configs.delete("bot", "scout", "ada"),
    ):
        with pytest.raises(NotFound):
            await change
    assert (await configs.list("bot", None, 10)).records == []
    history = await configs.history("bot", "scout", None, 10)
    told = [(record.version, record.deleted, record.updated_by) for record in history]
    assert told == [(2, True, "ben"), (1, False, "ada")]


async def test_history_goes_back_page_by_page(configs: ConfigService) -> None:
    await configs.create("bot", "scout", b'{"name": "Scout"}', "ada")
    for number in range(4):
        await configs.patch("bot", "scout", {"role": f"{number}"}, "ada")
    first = await configs.history("bot", "scout", None, 3)
    rest = await configs.history("bot", "scout", first[-1].version, 3)
    assert [record.version for record in (*first, *rest)] == [5, 4, 3, 2, 1]
    assert [record.body.role for record in (*first, *rest)] == ["3", "2", "1", "0", ""]
    assert await configs.history("bot", "scout", 1, 3) == []


async def test_unknown_id_is_not_found_whatever_is_asked(configs: ConfigService) -> None:
    for asked in (
        configs.get("bot", "nobody"),
        configs.replace("bot", "nobody", b'{"name": "Nobody"}', "ada"),
        configs.patch("bot", "nobody", {"name": "Nobody"}, "ada"),
        configs.delete("bot", "nobody", "ada"),
        configs.history("bot", "nobody", None, 10),
    ):
        with pytest.raises(NotFound, match="nobody"):
            await asked
    assert await configs.read("bot", "nobody") is None


async def test_list_is_in_order_of_id_and_goes_on_at_its_cursor(configs: ConfigService) -> None:
    for id in ("d", "a", "c", "b", "e"):
        await configs.create("bot", id, b'{"name": "Bot"}', "ada")
    await configs.create("team", "t", b'{"name": "Team"}', "ada")
    await configs.delete("bot", "c", "ada")
    ids: list[str] = []
    cursor: str | None = None
    while True:
        page = await configs.list("bot", cursor, 2)
        ids += [record.id for record in page.records]
        cursor = page.following
        if cursor is None:
            break
    assert ids == ["a", "b", "d", "e"]


async def test_change_is_in_the_next_read_here_and_soon_on_every_other_server(
    servers_of_two: tuple[ConfigService, ConfigService],
) -> None:
    here, there = servers_of_two
    await here.create("bot", "scout", b'{"name": "Scout"}', "ada")
    assert await there.get("bot", "scout") == await here.get("bot", "scout")
    for number in range(5):
        await here.patch("bot", "scout", {"role": f"{number}"}, "ada")
        assert (await here.get("bot", "scout")).body.role == f"{number}"

        async def is_there(role: str = f"{number}") -> bool:
            return bool((await there.get("bot", "scout")).body.role == role)

        await eventually(is_there, what="the change on the other server")
    await here.delete("bot", "scout", "ada")

    async def is_gone() -> bool:
        read = await there.read("bot", "scout")
        return read is None or read.entry.state.deleted

    await eventually(is_gone, what="the deletion on the other server")


WAIT = b'{"type": "wait", "seconds": 1}'
EVERY_KIND = [
    ("bot", "scout", b'{"name": "Scout"}', {"name": "Scout II"}, "name"),
    ("team", "crew", b'{"name": "Crew"}', {"objectives": ["Win."]}, "objectives[0]"),
    (
        "routine",
        "lesson",
        b'{"name": "Lesson", "steps": [' + WAIT + b"]}",
        {"limits": {"credits": 5}},
        "limits.credits",
    ),
    (
        "subtopic",
        "halves",
        b'{"topic": "fractions", "title": "Halves"}',
        {"order": 3},
        "order",
    ),
    ("setting", "limits", b'{"value": {"credits": 5}}', {"value": {"credits": 6}}, "value.credits"),
]


@pytest.mark.parametrize(("kind", "id", "data", "patch", "path"), EVERY_KIND)
async def test_every_kind_has_versions_differences_and_a_way_back(
    configs: ConfigService, kind: str, id: str, data: bytes, patch: dict[str, object], path: str
) -> None:
    first = await configs.create(kind, id, data, "ada")
    second = await configs.patch(kind, id, patch, "ben", 1)
    old, new, changes = await configs.diff(kind, id, 1, None)
    assert (old, new) == (first, second)
    assert [change.path for change in changes] == [path]
    assert (await configs.diff(kind, id, 2, 2))[2] == ()

    await configs.delete(kind, id, "ada", 2)
    restored = await configs.rollback(kind, id, 1, "ben", 3)
    assert (restored.version, restored.deleted, restored.body) == (4, False, first.body)
    assert (await configs.get(kind, id)).body == first.body
    listed = await configs.list(kind, None, 10)
    assert [record.id for record in listed.records] == [id]
    history = await configs.history(kind, id, None, 10)
    assert [(one.version, one.deleted) for one in history] == [
        (4, False),
        (3, True),
        (2, False),
        (1, False),
    ]


@pytest.mark.parametrize(("kind", "id", "data", "patch", "path"), EVERY_KIND)
async def test_every_kind_is_invalidated_on_the_other_server(
    servers_of_two: tuple[ConfigService, ConfigService],
    kind: str,
    id: str,
    data: bytes,
    patch: dict[str, object],
    path: str,
) -> None:
    here, there = servers_of_two

    async def is_shown(version: int) -> bool:
        # It may have looked before, and found nothing.
        with suppress(NotFound):
            return (await there.get(kind, id)).version == version
        return False

    await here.create(kind, id, data, "ada")
    await eventually(partial(is_shown, 1), what=f"the {kind} on the other server")
    await here.patch(kind, id, patch, "ada")
    await eventually(partial(is_shown, 2), what="its edit on the other server")


async def test_rollback_and_difference_need_versions_that_there_were(
    configs: ConfigService,
) -> None:
    await configs.create("bot", "scout", b'{"name": "Scout"}', "ada")
    for asked in (
        configs.rollback("bot", "scout", 2, "ada"),
        configs.rollback("bot", "nobody", 1, "ada"),
        configs.diff("bot", "scout", 1, 2),
        configs.diff("bot", "nobody", 1, None),
    ):
        with pytest.raises(NotFound):
            await asked
    with pytest.raises(VersionConflict):
        await configs.rollback("bot", "scout", 1, "ada", 2)


async def test_list_is_as_of_a_position_that_moves_with_every_change(
    configs: ConfigService,
) -> None:
    before = (await configs.list("bot", None, 10)).as_of
    await configs.create("bot", "scout", b'{"name": "Scout"}', "ada")
    made = await configs.list("bot", None, 10)
    await configs.patch("bot", "scout", {"role": "guide"}, "ada")
    assert before < made.as_of < (await configs.list("bot", None, 10)).as_of


async def test_subtopics_are_listed_by_topic_and_follow_when_they_move(
    configs: ConfigService,
) -> None:
    for id, topic in (("a", "fractions"), ("b", "fractions"), ("c", "decimals")):
        data = b'{"title": "One", "topic": "' + topic.encode() + b'"}'
        await configs.create("subtopic", id, data, "ada")
    await configs.patch("subtopic", "b", {"topic": "decimals"}, "ada")

    async def ids(topic: str | None) -> list[str]:
        page = await configs.list("subtopic", None, 10, group=topic)
        return [record.id for record in page.records]

    assert await ids("fractions") == ["a"]
    assert await ids("decimals") == ["b", "c"]
    assert await ids(None) == ["a", "b", "c"]
    assert await ids("history") == []


async def test_routine_runs_only_routines_that_are_there(configs: ConfigService) -> None:
    sub = b'{"name": "Sub", "steps": [' + WAIT + b"]}"
    main = b'{"name": "Main", "steps": [' + WAIT + b', {"type": "routine", "routine": "sub"}]}'
    with pytest.raises(Refused) as refused:
        await configs.create("routine", "main", main, "ada")
    assert (refused.value.code, refused.value.field) == ("unknown_reference", "steps[1].routine")

    await configs.create("routine", "sub", sub, "ada")
    await configs.create("routine", "main", main, "ada")
    # What a run will find is the run's to say: a routine may go although another names it.
    await configs.delete("routine", "sub", "ada")
    with pytest.raises(Refused, match="sub"):
        await configs.patch("routine", "main", {"description": "x"}, "ada")
    await configs.delete("routine", "main", "ada")
