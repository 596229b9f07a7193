"""The verdict on a stage as an act brings it back."""

from __future__ import annotations

from tests.prove.act import Result
from tests.support.stage import Stage, Verdict


def result_of(stage: Stage, verdict: Verdict, seed: int) -> Result:
    """Count what the stage's troubles struck, and name all that the verdict found."""
    troubles = stage.troubles
    fresh, labelled, unanswered = verdict.reads
    return Result(
        counts={
            "acked_turns": stage.replay.acked,
            **{name: len(struck) for name, struck in troubles.struck.items()},
            "reads": fresh,
            "labelled_reads": labelled,
            "unanswered_reads": unanswered,
            "windows_searched": verdict.searched.windows,
            "windows_undecided": verdict.searched.undecided,
            "conversations": verdict.conversations,
        },
        figures={f"all acked again after {kind}_s": s for kind, s in troubles.again_s.items()},
        steps={step.value: times for step, times in troubles.steps.items()},
        violations=(
            *map(str, verdict.violations),
            *verdict.searched.unexplained,
            *verdict.miscounted,
            *verdict.disagreements,
        ),
        seed=seed,
        in_flight_min=min(min(struck) for struck in troubles.struck.values()),
    )
