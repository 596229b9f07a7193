"""Who is heard in which part of a recording."""

from src.agents.recording.speakers import Speakers


def test_who_speaks_is_told_in_the_order_in_which_they_begin() -> None:
    speakers = Speakers()
    for id, at in (("zoe", 20), ("ada", 10), ("zoe", 5), ("ada", 30)):
        speakers.heard(id, at)
    assert speakers.until(100) == ("ada", "zoe")


def test_who_is_heard_in_the_next_part_only_is_told_with_that() -> None:
    speakers = Speakers()
    speakers.heard("zoe", 10)
    speakers.heard("ada", 60)
    assert speakers.until(50) == ("zoe",)
    assert speakers.until(100) == ("ada",)
    assert speakers.until(150) == ()


def test_who_speaks_across_the_border_is_heard_in_both_parts() -> None:
    speakers = Speakers()
    for at in (40, 60):
        speakers.heard("zoe", at)
    assert (speakers.until(50), speakers.until(100)) == (("zoe",), ("zoe",))
