"""The promises that the demonstration checks, and what was found of each."""

from __future__ import annotations

from enum import IntEnum, StrEnum

import msgspec


class Name(IntEnum):
    """The promises, in order of showing."""

    NOTHING_LOST = 1
    READ_ANYWHERE = 2
    TIERS = 3
    COLLAPSE = 4
    HOT_RELOAD = 5
    FENCED = 6
    SURVIVES_KILL = 7
    # With voices, in a room of LiveKit.
    ONE_VOICE = 8
    BARGE_IN = 9
    WRITTEN_ONCE = 10
    OBEYED_ALOUD = 11
    HEARD_AGAIN = 12
    CUT_KEPT = 13
    SUMMARISED_ONCE = 14

    @property
    def title(self) -> str:
        """The promise in words."""
        return _TITLES[self]


_TITLES = {
    Name.NOTHING_LOST: "every acknowledged turn is in the log, once and in order",
    Name.READ_ANYWHERE: "a turn posted on one server is read on the other",
    Name.TIERS: "a read costs what its tier costs, and a stampede one load",
    Name.COLLAPSE: "50 rapid updates become one snapshot write",
    Name.HOT_RELOAD: "a bot edited on one server is obeyed on the other",
    Name.FENCED: "a paused owner cannot write after it was replaced",
    Name.SURVIVES_KILL: "kill -9 of the owner loses nothing, the other goes on",
    Name.ONE_VOICE: "bots never speak over each other",
    Name.BARGE_IN: "a person who begins to speak silences the bot",
    Name.WRITTEN_ONCE: "every turn is in the conversation once, with its speaker and times",
    Name.OBEYED_ALOUD: "a bot edited on the other server answers by the edit at once",
    Name.CUT_KEPT: "what was heard of a bot that was killed is kept, as interrupted",
    Name.SUMMARISED_ONCE: "a session that is over is summarised once, though its host changed",
    Name.HEARD_AGAIN: "kill -9 of the room's host: bots are heard again, history is there",
}


class Guard(StrEnum):
    """The guards that `--sabotage` can switch off; see src/state/guards.py."""

    FLUSH = "flush"
    ANNOUNCE = "announce"
    EPOCH = "epoch"
    WATERMARK = "watermark"
    WHOLE = "whole"

    @property
    def switches(self) -> tuple[str, ...]:
        """What is off: a paused owner that keeps to its deadline would send nothing late."""
        return ("epoch", "deadline") if self is Guard.EPOCH else (self.value,)


KEPT_BY = {
    Guard.FLUSH: Name.COLLAPSE,
    Guard.ANNOUNCE: Name.READ_ANYWHERE,
    Guard.WATERMARK: Name.READ_ANYWHERE,
    Guard.EPOCH: Name.FENCED,
    Guard.WHOLE: Name.SURVIVES_KILL,
}
"""Which promise breaks when a guard is switched off."""

ELSEWHERE = {
    "seq": "tests/guards/test_append.py::test_owner_does_not_write_beyond_a_log_that_went_back",
    "lookup": "tests/guards/test_append.py::test_repeat_is_not_refused",
    "resend": "tests/guards/test_append.py::test_no_answer_is_no_refusal",
    "ack": "tests/guards/test_append.py::test_nothing_is_acked_that_redis_was_not_told",
    "head": "tests/guards/test_reads.py::test_body_below_its_head_is_no_answer",
    "inclusive": "tests/guards/test_reads.py::test_base_of_a_lost_branch_is_thrown_away",
    "token": "tests/guards/test_reads.py::test_load_that_a_doubt_overtook_fills_nothing",
    "newer": "tests/guards/test_reads.py::test_slow_load_does_not_replace_a_newer_one",
    "clock": "tests/guards/test_reads.py::test_process_that_stood_still_calls_nothing_fresh",
    "pinning": "tests/guards/test_reads.py::test_owner_answers_with_what_it_acked_from_memory",
    "replay": "tests/guards/test_hearing.py::test_message_before_a_gap_is_not_skipped",
    "pull": "tests/guards/test_hearing.py::test_last_message_is_not_lost_for_good",
    "incarnation": "tests/guards/test_hearing.py::test_numbers_of_an_earlier_life_hide_nothing",
    "silent": "tests/guards/test_hearing.py::test_copies_are_doubted_while_an_owner_is_silent",
    "outbox": "tests/guards/test_configs.py::test_committed_config_is_always_announced",
    "fence": "tests/guards/test_owning.py::test_new_owner_reads_after_nobody_else_can_write",
    "deadline": "tests/guards/test_owning.py::test_owner_past_its_deadline_is_a_plain_reader",
    "sent": "tests/guards/test_owning.py::test_deadline_counts_from_when_the_beat_was_sent",
    "recount": "tests/guards/test_owning.py::test_outage_of_the_database_makes_nobody_dead",
    "beat": "tests/guards/test_owning.py::test_beat_in_the_last_moment_saves",
    "timeline": "tests/guards/test_owning.py::test_no_version_is_used_again_after_a_failover",
}
"""Guards that only miss a fault that no act makes: the test that makes it."""


class Promise(msgspec.Struct, frozen=True, gc=False):
    """One promise after its check."""

    promise: Name
    kept: bool
    expected: str
    found: str


class Latency(msgspec.Struct, frozen=True, gc=False):
    """Reads that one tier answered, as counted from outside, and how long a client waited."""

    tier: str
    reads: int
    database_reads: int
    redis_commands: int
    p50_ms: float
    worst_ms: float


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """All that the demonstration found."""

    promises: tuple[Promise, ...]
    tiers: tuple[Latency, ...]
    figures: dict[str, float]

    @property
    def kept(self) -> bool:
        return all(promise.kept for promise in self.promises)

    def as_json(self) -> bytes:
        """Return `{promises: [{number, name, kept, expected, found}], figures: {...}}`."""
        promises = [
            {
                "number": int(one.promise),
                "name": one.promise.title,
                "kept": one.kept,
                "expected": one.expected,
                "found": one.found,
            }
            for one in self.promises
        ]
        tiers = {one.tier: one for one in self.tiers}
        return msgspec.json.encode(
            {"kept": self.kept, "promises": promises, "figures": {**self.figures, "tiers": tiers}}
        )
