"""The lesson of docs/lessons.md, on two real servers: from the first subtopic to the last and back,
with an edit, a deletion, and a kill -9 of its owner on the way.
"""

from __future__ import annotations

import re
import subprocess
from contextlib import AsyncExitStack
from pathlib import Path

from swarmstate_client import Client, Patience

from tests.support.cluster_processes import Cluster, open_cluster
from tests.support.cluster_settings import eventually

PAGE = Path(__file__).parents[2] / "docs" / "lessons.md"
ZOE = {"kind": "person", "id": "zoe"}


def run_page(cluster: Cluster, folder: Path) -> None:
    """Run the page's second block, which begins the lesson, on the first server."""
    _, begin, *_ = re.findall(r"(?s)```sh\n(.*?)```", PAGE.read_text())
    # A busy machine may answer 503: curl waits and tries again then, as everybody should.
    (folder / ".curlrc").write_text("retry = 5\n")
    environment = {
        "URL": cluster.urls[0],
        "AUTH": f"Authorization: Bearer {cluster.token}",
        "CURL_HOME": str(folder),
        "PATH": "/usr/local/bin:/usr/bin:/bin",
    }
    done = subprocess.run(
        ["sh", "-ec", begin], env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr


async def ask(client: Client, text: str) -> str:
    """Say something as Zoe; return what the tutor answers."""
    said = await client.conversations.say("lesson-1", text, author=ZOE)

    async def answers() -> list[str]:
        state = await client.conversations.get("lesson-1")
        return [turn.text for turn in state.messages if turn.reply_to == said.id]

    async def is_answered() -> bool:
        return bool(await answers())

    await eventually(is_answered, 30.0, what=f"an answer to {text!r}")
    return (await answers())[0]


async def test_lesson_of_the_page_goes_from_its_first_subtopic_to_its_last(
    database_url: str, redis_url: str, tmp_path: Path
) -> None:
    async with AsyncExitStack() as stack:
        cluster = await stack.enter_async_context(open_cluster(database_url, redis_url, tmp_path))
        run_page(cluster, tmp_path)
        patient = Patience(attempts=30)
        a, b = [
            await stack.enter_async_context(Client(url, cluster.token, patience=patient))
            for url in cluster.urls
        ]
        assert await ask(a, "Good morning!") == "Halves: Two equal parts make a whole."
        assert await ask(b, "An example?") == "Think of a pizza."
        assert await ask(a, "Now test me.") == "Half of a half?"
        assert await ask(b, "That is a quarter.") == "Right."
        assert await ask(a, "Slower, please.") == "The pace is slow now."
        adding = "Subtopic 2 of 3: Adding. Count the parts of the same size."
        assert await ask(b, "The next one, please.") == adding

        await b.subtopics.patch("adding", {"content": "Make the parts equal first."})
        edited = "Adding: Make the parts equal first."
        assert await ask(a, "Once more?") == edited

        owner = await cluster.busiest()
        assert owner is not None
        owner.kill()
        left = b if owner.url == cluster.urls[0] else a
        assert await ask(left, "Are you there?") == edited

        assert (await ask(left, "And next?")).startswith("Subtopic 3 of 3: Multiplying.")
        assert await ask(left, "next") == "Multiplying is the last subtopic of fractions"
        assert (await ask(left, "Let us go back.")).startswith("Subtopic 2 of 3: Adding.")
        await left.subtopics.delete("adding")
        assert await ask(left, "How far are we?") == (
            "fractions, at 2 of 2, pace slow. "
            "Halves (before): 1 of 1 checks passed, examples given: 1. Multiplying (now)."
        )
