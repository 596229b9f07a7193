"""Mu-law as ITU-T G.711 has it."""

from __future__ import annotations

import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from src.api.telephony import mulaw


@pytest.mark.parametrize(
    ("code", "sample"),
    [(0x00, -32_124), (0x80, 32_124), (0xFF, 0), (0x7F, 0), (0xFE, 8), (0x7E, -8), (0x9F, 8_316)],
)
def test_a_code_is_the_sample_of_the_table(code: int, sample: int) -> None:
    assert struct.unpack("<h", mulaw.decode(bytes([code]))) == (sample,)


def test_every_code_comes_back_as_itself() -> None:
    """But for the second zero, which means the same as the first."""
    codes = bytes(range(256))

    assert mulaw.encode(mulaw.decode(codes)) == codes.replace(b"\x7f", b"\xff")


@given(st.integers(-32_768, 32_767))
@example(-121)
@example(121)
def test_a_sample_comes_back_about_as_loud(sample: int) -> None:
    pcm = struct.pack("<h", sample)
    (back,) = struct.unpack("<h", mulaw.decode(mulaw.encode(pcm)))

    # A step is a sixteenth of its segment; the loudest samples are cut.
    assert abs(back - sample) <= max(8, abs(sample) // 16, abs(sample) - 32_124)
