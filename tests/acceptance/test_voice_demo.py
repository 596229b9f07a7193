"""The demonstration with voices, run as a person runs it."""

from __future__ import annotations

import json
import subprocess

from tests.support.commands import SWARMSTATE
from tests.support.livekit import needs_livekit

PATIENCE_S = 240


@needs_livekit
def test_every_promise_is_shown_by_what_people_hear() -> None:
    """How long things take is the machine's business here; the demonstration itself minds it."""
    ran = subprocess.run(
        [SWARMSTATE, "demo", "--voice", "--json"],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert ran.stdout, ran.stderr
    told = json.loads(ran.stdout)
    found = {one["number"]: one["found"] for one in told["promises"]}
    assert list(found) == [8, 9, 10, 11, 12, 13, 14]
    assert not [one for one in found.values() if one.startswith("could not be shown")], found
    kept = {one["number"] for one in told["promises"] if one["kept"]}
    assert {8, 10, 13, 14} <= kept, found
    assert found[9].endswith("her turn is kept as interrupted")
    assert found[11].startswith("3 of 3, ")
    # A turn of each person before that, and what was said and chatted since.
    assert found[10].startswith("7 turns and 10 answers, ")
    assert "17 of 17 earlier turns" in found[12]
    assert (ran.returncode == 0) == told["kept"] == (len(kept) == len(found))
    figures = told["figures"]
    assert figures["mouth_to_ear_p50_ms"] > 0
    assert figures["first_audio_p50_ms"] > 0
