"""The list of survivors explains exactly what it names."""

from pathlib import Path

from tests.mutation.reasons import Reason, Survivor, read_reasons, reason_for

ROOT = Path(__file__).parents[2]
SURVIVOR = Survivor(
    "src/state/models.py", 7, "if a > b:", "core/ReplaceComparisonOperator_Gt_GtE", "b = 2"
)


def test_a_reason_holds_for_its_line_and_its_operators_alone() -> None:
    here = Reason("src/state/models.py", "if a > b:", "equal is the same", ("ReplaceComparison",))
    assert reason_for(SURVIVOR, [here]) == "equal is the same"
    for other in (
        Reason("src/state/writes/log.py", "if a > b:", "no"),
        Reason("src/state/models.py", "if a > c:", "no"),
        Reason("src/state/models.py", "if a > b:", "no", ("AddNot",)),
        Reason("src/state/models.py", "if a > b:", "no", above="b = 3"),
    ):
        assert reason_for(SURVIVOR, [other]) is None


def test_every_reason_names_a_line_that_is_there() -> None:
    for reason in read_reasons():
        lines = set(map(str.strip, (ROOT / reason.module).read_text(encoding="utf-8").splitlines()))
        assert reason.line in lines, reason
        assert reason.above in {"", *lines}, reason
        assert reason.reason
