"""How near a question's hashes are to an archived picture's, where their qualities let them say anything."""

from typing import Final

import numpy as np

from infra.vision.prints import Print

NEAR: Final = 31
"""Bits of PDQ that may differ for one picture re-encoded: the figure that its authors recommend."""

GOOD: Final = 50
"""PDQ's quality below which a hash says little."""

CHANCE: Final = 128
"""Bits in which the hashes of two unrelated pictures differ."""


def hash_distance(asked: Print, archived: Print) -> int:
    """In how many bits the archived hash differs from the nearest of the question's places; CHANCE where it says nothing."""
    if archived.quality < GOOD or not asked.place_hashes.size:
        return CHANCE
    return int(np.bitwise_count(asked.place_hashes ^ np.frombuffer(archived.hash, np.uint8)).sum(axis=-1).min())


def is_hash_near(asked: Print, archived: Print) -> bool:
    """Whether the whole question has the archived picture's hash, however it is turned."""
    if min(asked.quality, archived.quality) < GOOD or not asked.place_hashes.size:
        return False
    return bool(np.bitwise_count(asked.place_hashes[0] ^ np.frombuffer(archived.hash, np.uint8)).sum(axis=-1).min() <= NEAR)
