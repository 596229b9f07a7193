"""What was erased is remembered, up to a bound."""

from src.state.buffers import Buffer
from src.state.reads.erased import Erased


def test_ids_are_remembered_up_to_a_bound_and_what_is_pushed_out_is_counted() -> None:
    erased = Erased()
    assert erased.buffer("notebook") == Buffer(0, 50_000, 0, "notebook")
    for n in range(50_000):
        erased.add(f"n{n}")
    erased.add("n7")
    assert erased.buffer("notebook") == Buffer(50_000, 50_000, 0, "notebook")
    erased.add("one more")
    assert erased.buffer("notebook") == Buffer(50_000, 50_000, 1, "notebook")
    assert ("one more" in erased, "n0" in erased, "never" in erased) == (True, False, False)
