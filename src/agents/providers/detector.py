"""The model that tells speech from other sound, which comes with LiveKit's own library."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from livekit.local_inference import VAD, VAD_WINDOW_SAMPLES


class DetectorThreads:
    """The threads in which the model runs for all ears: as many as the machine runs at once.

    A window of 32 ms takes it a small part of a millisecond, so an ear needs no thread of its own.
    """

    def __init__(self) -> None:
        """Load the model: its library does that with the first window."""
        threads = os.cpu_count() or 1
        self.executor = ThreadPoolExecutor(threads, thread_name_prefix="detector")
        VAD().predict(np.zeros(VAD_WINDOW_SAMPLES, np.int16))

    async def aclose(self) -> None:
        """End the threads; nobody listens any more."""
        self.executor.shutdown(wait=False, cancel_futures=True)
