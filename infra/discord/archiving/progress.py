"""How far a back-fill has come, how fast it is and how long it will take: pure. A snowflake's upper bits are its time."""

from dataclasses import dataclass

from contracts.state import Backfill

CELLS = 20


@dataclass(frozen=True, slots=True)
class Progress:
    """`fraction` is between 0 and 1; `per_second` counts messages; `left_s` is None while nobody can tell."""

    fraction: float
    per_second: float
    left_s: float | None


def progress_of(backfill: Backfill) -> Progress:
    """What is done by the time that the past spans, every channel and thread counting the same."""
    if backfill.done >= len(backfill.sources):
        return Progress(1.0, _rate(backfill), 0.0)
    fraction = (backfill.done + _within(backfill)) / len(backfill.sources)
    left = backfill.worked_s * (1 - fraction) / fraction if fraction > 0 and backfill.worked_s > 0 else None
    return Progress(fraction, _rate(backfill), left)


def bar(fraction: float, cells: int = CELLS) -> str:
    """A bar of so many cells; it is full only at the end."""
    full = cells if fraction >= 1 else min(cells - 1, int(fraction * cells))
    return "▰" * full + "▱" * (cells - full)


def _within(backfill: Backfill) -> float:
    """How much of the present source is read. It begins where it was created, if that is later than the whole."""
    begin = max(int(backfill.since), int(backfill.sources[backfill.done]))
    span, read = int(backfill.until) - begin, int(backfill.position) - begin
    return min(1.0, max(0.0, read / span)) if span > 0 else 0.0


def _rate(backfill: Backfill) -> float:
    return backfill.messages / backfill.worked_s if backfill.worked_s > 0 else 0.0
