"""How long to wait before the next attempt: full jitter, doubling."""

from __future__ import annotations

import random
from collections.abc import Callable

FIRST = 0.05
"""Upper bound of the first wait in seconds."""
LONGEST = 2.0
"""Upper bound of each wait in seconds while the daemon cannot be reached."""
LONGEST_REFUSED = 30.0
"""The same after an answer that trying again does not change."""


class Backoff:
    """Waits between attempts, each drawn evenly from zero to a bound that doubles."""

    def __init__(self, sample: Callable[[], float] = random.random) -> None:
        self._bound = FIRST
        self._sample = sample

    def reset(self) -> None:
        """Begins anew after a success."""
        self._bound = FIRST

    def next(self, longest: float) -> float:
        """Seconds to wait, at most ``longest``."""
        bound = min(self._bound, longest)
        self._bound = bound * 2
        return bound * self._sample()
