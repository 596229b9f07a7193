"""Twenty-nine defects of a well-known attempt at this design: each is a test here.

They are numbered as they were found: 1 to 9 in its write-behind buffer, 10 to 14 in its caches, 15
to 22 in the state of a running swarm, 23 to 29 in coordination.
"""

import re
from pathlib import Path

NOT_HERE = {
    29: "budgets of child swarms in percent of a constant: swarms have no children here",
}


def test_every_defect_has_a_test_or_cannot_occur() -> None:
    tested = {
        int(number)
        for path in Path(__file__).parent.glob("test_*.py")
        for number in re.findall(r"^(?:async )?def test_(\d\d)_", path.read_text(), re.MULTILINE)
    }
    assert tested.isdisjoint(NOT_HERE)
    assert tested | NOT_HERE.keys() == set(range(1, 30))
