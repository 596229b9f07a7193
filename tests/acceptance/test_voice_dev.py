"""`swarmstate dev` with a LiveKit of its own: its link lets a person in, who is answered."""

from __future__ import annotations

import asyncio
import re
import signal
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from src.demo.person import joined_by
from tests.support.cluster_settings import eventually
from tests.support.commands import curl, descendants, pair_of_ports, run, running, until
from tests.support.embedding import alive
from tests.support.livekit import needs_livekit


@needs_livekit
async def test_person_follows_the_link_and_is_answered_and_nothing_is_left(tmp_path: Path) -> None:
    with running(tmp_path, "dev", "--port", str(pair_of_ports())) as dev:
        dev.says("Begin another room")
        link = re.search(r"https://meet\.livekit\.io/custom\?\S+", dev.output)
        assert link is not None
        query = parse_qs(urlsplit(link.group()).query)
        [url], [token] = query["liveKitUrl"], query["token"]
        assert {url, token} <= set(dev.output.split())
        async with asyncio.timeout(60), joined_by(url, token) as you:
            assert you.identity == "you"
            people = you.room.remote_participants
            await eventually(lambda: "bot-ada" in people, within_s=30, what="Ada in the room")
            await you.room.local_participant.send_text("Good morning!", topic="lk.chat")
            await eventually(lambda: you.seconds_of("bot-ada") > 0.5, 30, what="an answer by voice")

        begun = curl(dev.output[dev.output.rindex("curl ") :].partition("\n\n")[0], tmp_path)
        assert begun["room_url"] == url
        assert begun["session_id"] != you.room.name
        everything = descendants(dev.process.pid)
        assert any("livekit" in line for line in everything.values())
        assert dev.stop(signal.SIGINT) == 0
    until(lambda: not any(alive(pid) for pid in everything), "no process is left")


def test_program_that_is_no_livekit_is_named(tmp_path: Path) -> None:
    given = {"SWARMSTATE_LIVEKIT_SERVER": "/nowhere", "SWARMSTATE_DATA_DIR": str(tmp_path)}
    ran = run("dev", "--port", str(pair_of_ports()), **given)
    assert ran.returncode == 1
    assert "SWARMSTATE_LIVEKIT_SERVER is '/nowhere'" in ran.stderr
