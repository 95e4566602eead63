"""Which segments of a shard are merged: each is to be a few times as large as the next, so that few are there and few rewritten."""

from collections.abc import Sequence

RATIO = 3


def groups(sizes: Sequence[int]) -> list[int]:
    """How many segments after each other become one, from the first on: afterwards each is RATIO times as large as the next."""
    merged: list[tuple[int, int]] = []  # how large, of how many
    for size in sizes:
        merged.append((size, 1))
        while len(merged) > 1 and merged[-2][0] < RATIO * merged[-1][0]:
            last = merged.pop()
            merged[-1] = (merged[-1][0] + last[0], merged[-1][1] + last[1])
    return [count for _, count in merged]
