"""Match: one question's vector becomes a verdict and its nearest images. Replay-safe: it only reads; the first answer stands."""

from collections.abc import Sequence
from dataclasses import dataclass

from contracts.events import Calibration, Fact, Match, SearchEmbedded, SearchMatched, Verdict
from contracts.ports import Neighbour, VectorSearch
from contracts.stage import Stage

DIGITS = 6
"""Decimals of a score that are told; what is told is also what is judged."""


@dataclass(frozen=True, slots=True)
class Deps:
    """The archive's vectors."""

    vectors: VectorSearch


def verdict_of(score: float | None, calibration: Calibration) -> Verdict:
    """What the best similarity means on this encoder; None when there was nothing to compare with."""
    if score is None or score < calibration.possible_at:
        return "none"
    return "match" if score >= calibration.match_at else "possible"


def matches_of(neighbours: Sequence[Neighbour], calibration: Calibration) -> tuple[Match, ...]:
    """The neighbours that are at least possible, in their order, with scores of at most 1."""
    scored = (Match(image_id=found.image_id, score=round(min(found.score, 1.0), DIGITS)) for found in neighbours)
    return tuple(match for match in scored if match.score >= calibration.possible_at)


async def handle(event: SearchEmbedded, deps: Deps) -> Sequence[Fact]:
    """Compare within the guild, the generation and the channels that the asker may read."""
    neighbours = await deps.vectors.search(
        event.guild_id, event.generation, event.vector, top=event.question.top, channels=event.question.readable_channels
    )
    matches = matches_of(neighbours, event.calibration)
    return [
        SearchMatched(
            guild_id=event.guild_id,
            search_id=event.search_id,
            question=event.question,
            generation=event.generation,
            verdict=verdict_of(matches[0].score if matches else None, event.calibration),
            matches=matches,
            trained=event.trained,
        )
    ]


STAGE = Stage(name="match", consumes=(SearchEmbedded,), emits=(SearchMatched,), handle=handle, deps=Deps)
