"""docs/proof.md: what all acts together counted, measured and found."""

from __future__ import annotations

import importlib
import importlib.util
import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from tests.prove.act import Act
from tests.prove.required import FORBIDDEN, IN_FLIGHT, REQUIRED, missing
from tests.prove.shelf import ROOT, Record

DOCUMENT = ROOT / "docs" / "proof.md"
_GUARDS = "tests.guards.table"

_HEAD = """\
# Proof

Nothing that was acknowledged is ever lost, doubled or reordered, whatever is killed. This page is
what `make prove` found: real servers, a real PostgreSQL and a real Redis, clients that keep a
ledger on disk of what they were promised, faults at moments drawn by a seed, and in the end a
checker that holds ledger, reads, log, snapshots, Redis and every server's answers against each
other. `make test` plays a short version of each kind.

One fault can lose what was acknowledged, and says so: a failover of PostgreSQL to an asynchronous
standby that lags behind. The act `failover` shows that every conversation it cut short is named.

```console
$ make prove                                  # all acts, two at a time; an hour or two on 2 cores
$ make prove ARGS="--list"                    # the acts, and what is finished
$ make prove ARGS="--only owner --jobs 1"     # one kind
```

A run that was ended is taken up where it was: finished acts stay in `.prove/` and are not played
again while the sources are the same. An act that failed stays failed until `--again`, and what
went wrong before stays in its record; its ledger, logs and data are in `.prove/<act>.evidence`.
"""

Table = Sequence[Sequence[str]]


class Sum(msgspec.Struct, frozen=True):
    """All records together."""

    counts: Counter[str]
    figures: dict[str, list[float]]
    steps: Counter[str]
    answers: Mapping[str, Counter[str]]
    in_flight_min: int | None
    violations: Sequence[str]
    bad: Sequence[Record]
    """Acts that broke a promise, or came to no end."""
    took_s: float

    @property
    def missing(self) -> list[str]:
        """What is not proven yet, in words."""
        less = missing(self.counts)
        if self.in_flight_min is not None and self.in_flight_min < IN_FLIGHT:
            less.append(f"turns in flight at a fault: {self.in_flight_min} of {IN_FLIGHT}")
        return less


def add_up(records: Iterable[Record]) -> Sum:
    """Add up counts and steps, join figures."""
    counts: Counter[str] = Counter()
    steps: Counter[str] = Counter()
    figures: dict[str, list[float]] = defaultdict(list)
    answers: dict[str, Counter[str]] = defaultdict(Counter)
    lowest: list[int] = []
    violations: list[str] = []
    bad, took_s = [], 0.0
    for record in records:
        result = record.result
        took_s += record.took_s
        if record.outcome != "kept":
            bad.append(record)
        violations += result.violations
        counts.update(result.counts)
        steps.update(result.steps)
        for name, values in result.figures.items():
            figures[name].extend(values)
        for operation, times in result.answers.items():
            answers[operation].update(times)
        if result.in_flight_min is not None:
            lowest.append(result.in_flight_min)
    least = min(lowest, default=None)
    return Sum(counts, dict(figures), steps, answers, least, violations, bad, took_s)


def quantile(figures: Sequence[float], share: float) -> float:
    """Return the smallest figure that at least `share` of them do not exceed."""
    return sorted(figures)[max(0, math.ceil(share * len(figures)) - 1)]


def required_table(total: Sum) -> Table:
    """Return a row per required count: what, how many, of how many, and whether that will do."""
    rows = []
    for one in REQUIRED:
        counted = total.counts.get(one.count, 0)
        rows.append(_row(one.words, counted, f"{one.at_least:,}", enough=counted >= one.at_least))
    for broken in FORBIDDEN:
        found = sum(broken in violation for violation in total.violations)
        rows.append(_row(broken, found, "0", enough=not found))
    others = sum(all(one not in found for one in FORBIDDEN) for found in total.violations)
    rows.append(_row("any other promise broken", others, "0", enough=not others))
    return rows


def _row(what: str, counted: int, required: str, *, enough: bool) -> tuple[str, str, str, str]:
    return what, f"{counted:,}", required, "yes" if enough else "**no**"


def verdict(total: Sum, unplayed: Mapping[str, int]) -> list[str]:
    """Say in a few lines whether the proof stands, and what it lacks; `unplayed` acts by kind."""
    said = []
    if total.bad:
        said.append(f"**It does not hold: {len(total.bad)} acts failed.**")
        said += [f"- {record.act}: {record.why}" for record in total.bad]
    if total.missing or unplayed:
        said.append("**This run is partial.** Still missing:")
        said += [f"- {one}" for one in total.missing]
        if unplayed:
            kinds = ", ".join(f"{kind} ({count})" for kind, count in sorted(unplayed.items()))
            said.append(f"- acts not played: {kinds}")
    if not said:
        said.append(
            "**It holds:** 0 acknowledged turns lost, 0 doubled, 0 forks, 0 unlabelled reads "
            "older than promised, 0 versions going back."
        )
    return said


def write(acts: Sequence[Act], records: Sequence[Record]) -> Path:
    """Write the page from these records of these acts; return where it is."""
    DOCUMENT.write_text(page(acts, records))
    return DOCUMENT


def page(acts: Sequence[Act], records: Sequence[Record]) -> str:
    """Return the page."""
    total = add_up(records)
    played = {record.act for record in records}
    unplayed = Counter(act.kind for act in acts if act.name not in played)
    said = [*verdict(total, unplayed), *_several(records)]
    parts = [_HEAD, "## Verdict", "\n".join(said), _counts(total)]
    if total.steps:
        parts += ["## Where the faults struck", _STEPS, _histogram(total.steps)]
    if total.figures:
        parts += ["## Figures", _figures(total.figures)]
    if total.answers:
        parts += ["## Answers", _ANSWERS, _answers(total.answers)]
    parts += ["## Guards", _guards(), "## Acts", _acts(records), _versions(records)]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _several(records: Sequence[Record]) -> list[str]:
    """Own up to results from more than one state of the sources."""
    commits = sorted({_commit(record) for record in records if record.versions})
    if len({record.tree for record in records}) < 2:
        return []
    named = ", ".join(commits)
    return ["", f"The acts were played on several states of the sources, {named}; see each act."]


def _commit(record: Record) -> str:
    return record.versions.get("commit", "unknown")


_STEPS = """\
Where an owner's turns stood when it was killed or stopped, and all turns when Redis was killed, as
the stores said right after. A server has many turns under way, so one fault strikes at several
steps; each counts the faults at which at least one turn, or one conversation, stood there. Every
second kill of an owner is aimed: the server is frozen in a burst, and killed only if the log has a
turn for whose ack a client still waits.
"""


_ANSWERS = """\
What each operation of the HTTP API answered to requests made from its OpenAPI document, good and
bad ones, with a token of each role: statuses, and how often. All of them were held against the
document. An admin reaches a 2xx everywhere but at LiveKit's webhook, which takes only what LiveKit
has signed.
"""


def _counts(total: Sum) -> str:
    rows = [*required_table(total)]
    known = {one.count for one in REQUIRED}
    rows += [
        (name.replace("_", " "), f"{count:,}", "", "")
        for name, count in sorted(total.counts.items())
        if name not in known
    ]
    lowest = total.in_flight_min
    if lowest is not None:
        enough = lowest >= IN_FLIGHT
        rows.append(
            _row("fewest turns in flight at a fault", lowest, f"{IN_FLIGHT}", enough=enough)
        )
    return _table(("what", "counted", "required", "enough"), rows)


def _histogram(steps: Counter[str]) -> str:
    most = max(steps.values())
    width = max(map(len, steps))
    lines = [
        f"{step:<{width}}  {times:6,}  {'#' * max(1, round(40 * times / most))}"
        for step, times in steps.most_common()
    ]
    return "```\n" + "\n".join(lines) + "\n```"


def _figures(figures: dict[str, list[float]]) -> str:
    rows = [
        (
            name,
            f"{len(values):,}",
            *(f"{value:.3g}" for value in (statistics.median(values), quantile(values, 0.99))),
            f"{max(values):.3g}",
        )
        for name, values in sorted(figures.items())
        if values
    ]
    return _table(("figure (unit at its end)", "measured", "p50", "p99", "highest"), rows)


def _answers(answers: Mapping[str, Counter[str]]) -> str:
    roles = sorted({one.split()[0] for times in answers.values() for one in times})
    rows = [
        (
            operation,
            *(
                ", ".join(
                    f"{seen.split()[1]}: {count:,}"
                    for seen, count in sorted(answers[operation].items())
                    if seen.split()[0] == role
                )
                for role in roles
            ),
        )
        for operation in sorted(answers, key=lambda one: one.split()[::-1])
    ]
    return _table(("operation", *roles), rows)


def _guards() -> str:
    if importlib.util.find_spec("tests.guards") is None or not importlib.util.find_spec(_GUARDS):
        return "No list of guards yet."
    rows: Table = importlib.import_module(_GUARDS).guard_table()
    lead = "Each guard of the protocol can be switched off; then this test names what breaks.\n\n"
    return lead + _table(("guard", "what breaks without it", "test"), rows)


def _acts(records: Sequence[Record]) -> str:
    rows = []
    for record in records:
        result = record.result
        counted = ", ".join(f"{name} {count:,}" for name, count in result.counts.items())
        remarks = [record.why] if record.why else []
        remarks += [f"before: {one}" for one in record.earlier]
        remarks += result.notes
        seed = "" if result.seed is None else str(result.seed)
        took = f"{record.took_s:.0f} s"
        remark = "; ".join(remarks)
        rows.append((record.act, record.outcome, seed, took, _commit(record), counted, remark))
    return _table(("act", "outcome", "seed", "took", "commit", "counted", "remarks"), rows)


def _versions(records: Sequence[Record]) -> str:
    kinds: dict[str, set[str]] = defaultdict(set)
    for record in records:
        for name, text in record.versions.items():
            kinds[name].add(text)
    return "\n".join(f"- {name}: {', '.join(sorted(texts))}" for name, texts in kinds.items())


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in line) + " |"
        for line in lines
    )
