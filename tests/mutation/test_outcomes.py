"""No outcome that was known is lost, whenever the run was killed."""

from pathlib import Path

from tests.mutation.outcomes import Outcomes


def test_outcomes_are_there_for_the_next_run(tmp_path: Path) -> None:
    Outcomes(tmp_path / "known").add("core/AddNot:0", "killed")
    Outcomes(tmp_path / "known").add("core/AddNot:1", "survived")

    known = Outcomes(tmp_path / "known")

    assert "core/AddNot:0" in known
    assert "core/AddNot:2" not in known
    assert [known.survived(f"core/AddNot:{n}") for n in range(3)] == [False, True, False]


def test_half_a_line_is_tried_again_and_spoils_no_other(tmp_path: Path) -> None:
    file = tmp_path / "known"
    file.write_text("core/AddNot:0 killed\ncore/AddNot:1 surv")

    Outcomes(file).add("core/AddNot:2", "hung")

    assert file.read_text() == "core/AddNot:0 killed\ncore/AddNot:2 hung\n"


def test_survivors_alone_are_forgotten(tmp_path: Path) -> None:
    file = tmp_path / "known"
    file.write_text("core/AddNot:0 killed\ncore/AddNot:1 survived\ncore/AddNot:2 hung\n")

    Outcomes(file).forget_survivors()

    assert file.read_text() == "core/AddNot:0 killed\ncore/AddNot:2 hung\n"
