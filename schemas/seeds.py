"""Named seeds: every random choice draws from a generator whose name says what it decides."""

from __future__ import annotations

import hashlib

import numpy as np

PANEL_SEED = 20_260_515
"""Root of the panel's random numbers: the same for all policies, rounds and runs, so that pairs are fair."""


def derive_seed(root: int, *names: str | int) -> int:
    """Return a 63-bit seed that depends on the root seed and on every name, in order.

    Stateless, so that a resumed or sharded job draws the same numbers as an uninterrupted one.

    Args:
        root: the run's seed.
        names: what the seed decides, for instance `"collect", round, task_id, sample`.
    """
    text = "\x1f".join([str(root), *(f"{type(name).__name__}:{name}" for name in names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(root: int, *names: str | int) -> np.random.Generator:
    """Return a numpy generator seeded by `derive_seed`."""
    return np.random.Generator(np.random.Philox(derive_seed(root, *names)))
