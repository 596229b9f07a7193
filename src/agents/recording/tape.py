"""A recording while it is made: Ogg Opus in a file without a name.

It goes with the process, however that ends. All of it blocks: it belongs into a thread.
"""

from __future__ import annotations

from contextlib import suppress
from io import SEEK_END
from tempfile import TemporaryFile
from typing import IO

import av

from src.agents.recording.mix import CHANNELS, RATE

TAPE_ERRORS = (OSError, av.FFmpegError)
"""What a disk that is full or broken makes of it."""
TYPE, SUFFIX = "audio/ogg", ".ogg"
_BITS_PER_S = 48_000
"""Of both channels together; silence takes next to nothing."""
_SAMPLE_BYTES = 2 * CHANNELS


class Tape:
    """Takes sound in order, and gives it as a file."""

    def __init__(self, title: str) -> None:
        """Raises TAPE_ERRORS when the disk takes no file; so do the others."""
        # Without a buffer: FFmpeg has one, and what a full disk does not take would wait there.
        self._file: IO[bytes] = TemporaryFile(buffering=0)  # noqa: SIM115  # closed by who gets it
        self._container = av.open(self._file, "w", format="ogg")
        self._container.metadata["title"] = title
        self._stream = self._container.add_stream("libopus", rate=RATE, layout="stereo")
        self._stream.bit_rate = _BITS_PER_S
        self._samples = 0

    @property
    def seconds(self) -> float:
        """How long it is."""
        return self._samples / RATE

    @property
    def size(self) -> int:
        """How many bytes it has, a second of sound more or less."""
        return self._file.tell()

    def write(self, pcm: bytes) -> None:
        """Add sound: 16 bits, the channels beside each other."""
        frame = av.AudioFrame("s16", "stereo", len(pcm) // _SAMPLE_BYTES)
        frame.planes[0].update(pcm)
        frame.sample_rate, frame.pts = RATE, self._samples
        self._container.mux(self._stream.encode(frame))
        self._samples += frame.samples

    def end(self) -> tuple[IO[bytes], int]:
        """Write what is missing, and return the file and how many bytes it has.

        On a disk that is full it ends with what that took: Ogg can be played up to there.
        """
        with suppress(*TAPE_ERRORS):
            self._container.mux(self._stream.encode(None))
        with suppress(*TAPE_ERRORS):
            self._container.close()
        return self._file, self._file.seek(0, SEEK_END)

    def discard(self) -> None:
        """Give the disk back."""
        self._file.close()
