"""What is bounded has left nothing out unless it says so."""

from src.state.buffers import Buffer


def test_nothing_was_left_out_unless_it_is_said() -> None:
    assert Buffer(3, 10) == Buffer(3, 10, 0, "")
