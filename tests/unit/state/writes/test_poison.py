"""What PostgreSQL can never take is put aside, and nothing stops where even that fails."""

from structlog.testing import capture_logs

from src.state.writes.poison import Poison
from tests.support.clock import virtual_time
from tests.support.cluster import Cluster
from tests.support.kinds import written


@virtual_time
async def test_events_are_put_aside_with_the_reason_and_counted() -> None:
    cluster = Cluster()
    poison = Poison(cluster.server().log, "notebook")
    assert poison.quarantined == 0
    await poison.put_aside([written("n", 1, 1), written("n", 1, 2)], "a value out of range")
    assert poison.quarantined == 2
    assert [(event.version.seq, why) for event, why in cluster.database.quarantine] == [
        (1, "a value out of range"),
        (2, "a value out of range"),
    ]


@virtual_time
async def test_log_names_what_could_not_even_be_put_aside() -> None:
    server = Cluster().server()
    server.log_link.up = False
    poison = Poison(server.log, "notebook")
    with capture_logs() as logs:
        await poison.put_aside([written("n", 1, 1)], "a value out of range")
    assert [line["event"] for line in logs] == ["poison.put_aside", "quarantine.failed"]
    assert poison.quarantined == 1
