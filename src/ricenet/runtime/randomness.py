"""Counter-based randomness: the stream depends on what it is for, never on what ran before."""

from __future__ import annotations

import hashlib

import numpy as np


def seed_for(*purpose: str | int) -> int:
    """A 63-bit seed determined by the purpose alone, e.g. ("fold", 7, "dose", 3).

    >>> seed_for("fold", 7, "dose", 3) == seed_for("fold", 7, "dose", 3)
    True
    """
    text = "\x1f".join(str(part) for part in purpose)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator_for(*purpose: str | int) -> np.random.Generator:
    """A Philox (counter-based) generator for one purpose, e.g. one sample of one epoch."""
    return np.random.Generator(np.random.Philox(key=seed_for(*purpose)))
