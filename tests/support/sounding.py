"""What a recording has in it, decoded: when it sounds, and at which pitch."""

from __future__ import annotations

import io
from collections.abc import Iterator

import av
import msgspec
import numpy as np
import numpy.typing as npt

from src.agents.providers.phrases import pitch
from src.agents.providers.tone import tone

_LOUD = 500.0
"""Root mean square of 16-bit samples, from which on it is sound."""
_STEP_S = 0.02
_GAP_STEPS = 5
"""Silence that ends a stretch of sound."""
_BAND_HZ = 140.0
_POWER = np.mean(np.frombuffer(tone(440.0, 1.0), dtype=np.int16).astype(np.float64) ** 2)
"""Of the tones that people and bots speak in."""


class Stretch(msgspec.Struct, frozen=True):
    """Sound without a break, at its pitch in Hz."""

    begins_s: float
    seconds: float
    hz: float


class Sound(msgspec.Struct, frozen=True):
    """Channels of 16-bit samples."""

    samples: npt.NDArray[np.float64]
    rate: int

    @property
    def seconds(self) -> float:
        return float(self.samples.shape[1] / self.rate)

    def seconds_of(self, channel: int, hz: float) -> float:
        """For how long a tone of this pitch sounds on a channel, by its energy.

        So a tone that a busy speaker sent in bits is as long as it was meant to be.
        """
        wave = self.samples[channel]
        power = np.abs(np.fft.rfft(wave)) ** 2 * 2 / len(wave)
        is_it = np.abs(np.fft.rfftfreq(len(wave), 1 / self.rate) - hz) < _BAND_HZ
        return float(np.sum(power[is_it]) / self.rate / _POWER)

    def stretches(self, channel: int) -> Iterator[Stretch]:
        """Give what sounds on a channel, in order."""
        step = int(_STEP_S * self.rate)
        steps = self.samples[channel][: self.samples.shape[1] // step * step].reshape(-1, step)
        loud = np.flatnonzero(np.sqrt(np.mean(steps**2, axis=1)) >= _LOUD)
        for found in np.split(loud, np.flatnonzero(np.diff(loud) > _GAP_STEPS) + 1):
            if len(found):
                first, last = int(found[0]), int(found[-1]) + 1
                wave = steps[first:last].ravel()
                yield Stretch(first * _STEP_S, (last - first) * _STEP_S, pitch(wave, self.rate))


def decoded(file: bytes) -> Sound:
    """Return the sound of an audio file."""
    with av.open(io.BytesIO(file), "r") as container:
        frames = [frame.to_ndarray() for frame in container.decode(audio=0)]
        rate = container.streams.audio[0].rate
    return Sound(np.concatenate(frames, axis=1).astype(np.float64) * 32_768, rate)
