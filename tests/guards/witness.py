"""A client of the servers in memory who writes down what it did and what it was told."""

import asyncio
from collections.abc import Sequence

from src.state.errors import OutcomeUnknown, StateError
from src.state.errors import Refused as RefusedByRules
from src.state.models import Durability, Event, Version
from tests.support.cluster import Cluster, Server
from tests.support.history import Broken, Logged, Violation, check
from tests.support.kinds import NOTEBOOKS
from tests.support.ledger import Acked, Line, Posted, Refused, Seen, Unknown


class Witness:
    """One ledger for all servers of a cluster; a reader for each."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._ledger: list[Line] = []
        self._unknown: set[tuple[str, str]] = set()
        self._refused: dict[tuple[str, str], str] = {}
        self._shown: list[tuple[str, Version, tuple[str, ...]]] = []

    async def write(
        self,
        server: Server,
        id: str,
        line: str,
        *,
        if_version: Version | None = None,
        durability: Durability = Durability.LOGGED,
    ) -> Version | None:
        """Write a line under itself as key; return the version of the ack, if there is one."""
        name = id, line
        self._ledger.append(Posted(id, line, "ada", line, _now()))
        try:
            ack = await server.write(id, line, if_version=if_version, durability=durability)
        except OutcomeUnknown:
            self._unknown.add(name)
            self._ledger.append(Unknown(id, line, 1))
            return None
        except StateError as error:
            # What the rules refuse is an answer to the key; the rest speaks of this attempt alone.
            if isinstance(error, RefusedByRules) or name not in self._unknown:
                self._refused[name] = type(error).__name__
            return None
        self._refused.pop(name, None)
        self._ledger.append(
            Acked(id, line, ack.version, ack.repeated, at=_now(), durability=ack.durability)
        )
        return ack.version

    async def read(
        self, server: Server, id: str, *, at_least: Version | None = None
    ) -> tuple[str, ...]:
        """Read as somebody who asks this server alone."""
        began = _now()
        read = await server.read(id, at_least=at_least)
        version, lines = read.entry.version, read.entry.state.lines
        label = None if read.stale_s is None else f"{read.stale_s:.3f} s"
        reader = f"reader of {server.membership.url}"
        self._ledger.append(Seen(reader, id, version, began, _now(), label, at_least))
        if not read.entry.ahead:
            self._shown.append((id, version, lines))
        return lines

    def verdict(self, *, at_rest: bool = False) -> list[Violation]:
        """Return what is wrong; `at_rest`: also with what L2 and L3 hold, now that all is quiet."""
        logs = self._cluster.database.events["events"]
        refusals = [Refused(id, key, code) for (id, key), code in self._refused.items()]
        rows = [_logged(event) for id in sorted(logs) for event in logs[id]]
        found = check([*self._ledger, *refusals], rows)
        for id, version, lines in self._shown:
            prefix = _lines(logs[id], version)
            if any(event.version == version for event in logs[id]) and lines != prefix:
                detail = f"{lines} at {version.token}, the log has {prefix}"
                found.append(Violation(Broken.MISTOLD, id, detail))
        if at_rest:
            for id in sorted(logs):
                found += self._places(id, logs[id])
        return found

    def _places(self, id: str, events: Sequence[Event]) -> list[Violation]:
        newest = events[-1].version
        cell = self._cluster.space.cells.get(("notebook", id))
        snapshot = self._cluster.database.snapshots["snapshots"].get(id)
        row = self._cluster.database.read_models["conversation_summaries"].get(id)
        body = None if cell is None else cell.snapshot
        wrong = []
        if snapshot is None or snapshot.version != newest:
            at = "nowhere" if snapshot is None else f"at {snapshot.version.token}"
            wrong.append(f"the snapshot is {at}, the log at {newest.token}")
        if row is None or row[1] != newest.seq:
            wrong.append(f"the read model is not at {newest.token}")
        for place, held in (("L3", snapshot), ("L2", body)):
            if held is not None:
                lines = NOTEBOOKS.decode_state(held.body).lines
                if lines != _lines(events, held.version):
                    wrong.append(f"{place} has {lines} at {held.version.token}")
        return [Violation(Broken.UNLIKE, id, detail) for detail in wrong]


def _now() -> float:
    return asyncio.get_running_loop().time()


def _text(event: Event) -> str:
    line: str = NOTEBOOKS.decode_event(event.type, event.schema, event.body).line
    return line


def _lines(events: Sequence[Event], version: Version) -> tuple[str, ...]:
    return tuple(_text(event) for event in events if event.version <= version)


def _logged(event: Event) -> Logged:
    key, _, _ = event.event_id.rpartition(":")
    return Logged(event.aggregate_id, event.version, key, "ada", _text(event))
