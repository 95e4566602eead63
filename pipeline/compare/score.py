"""Score answers: which right images were found, which matches are false, and where two generations differ. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from rich.filesize import decimal

from contracts.events import Match
from contracts.generations import Generation
from pipeline.compare.queries import CompareQuery, GenerationAnswer
from pipeline.generations.encoders import encoder_label
from pipeline.generations.progress import FLOAT_BYTES


@dataclass(frozen=True, slots=True)
class Share:
    """A part of a whole, as text: `3 of 4 (75%)`."""

    part: int
    whole: int

    def __str__(self) -> str:
        return f"{self.part} of {self.whole} ({self.part / self.whole:.0%})" if self.whole else "-"


@dataclass(frozen=True, slots=True)
class GenerationResult:
    """One generation's answers in the order of the queries, and how many images have a vector of it."""

    generation: Generation
    vectors: int
    answers: Sequence[GenerationAnswer]

    @property
    def stored_bytes(self) -> int:
        return self.vectors * self.generation.dimensions * FLOAT_BYTES

    def milliseconds(self, percentile: float) -> float:
        """Return the percentile of the times from a query's picture or words to its answer, in milliseconds."""
        return float(np.percentile([answer.milliseconds for answer in self.answers], percentile))


@dataclass(frozen=True, slots=True)
class Change:
    """A query that two generations answer with different verdicts, or that only one of them answers rightly."""

    query: CompareQuery
    before: GenerationAnswer
    after: GenerationAnswer

    @property
    def right(self) -> tuple[bool | None, bool | None]:
        """Whether each answer is right."""
        return is_right(self.query, self.before), is_right(self.query, self.after)

    @property
    def gain(self) -> int:
        """Above zero if the second answer is better, below zero if it is worse."""
        before, after = (_RANK[right] for right in self.right)
        return after - before


_RANK = {False: 0, None: 1, True: 2}


def includes_any(piece: Match, images: frozenset[str]) -> bool:
    """Return whether one of the images is the best image of a piece or one of its posts."""
    return not images.isdisjoint((piece.image_id, *piece.posts))


def is_found_within(query: CompareQuery, answer: GenerationAnswer, top: int) -> bool:
    """Return whether one of the first `top` pieces has a right image."""
    return any(includes_any(piece, query.expected) for piece in answer.pieces[:top])


def is_false_match(query: CompareQuery, answer: GenerationAnswer) -> bool:
    """Return whether the answer calls something a match, but none of its matches is right.

    If only wrong images are known, the first match must be one of them: an image that nobody judged may be right.
    """
    if not answer.sure:
        return False
    if query.expected or query.unmatched:
        return not any(includes_any(piece, query.expected) for piece in answer.sure)
    return includes_any(answer.sure[0], query.wrong)


def is_right(query: CompareQuery, answer: GenerationAnswer) -> bool | None:
    """Return whether the first piece is right, or nothing is called a match and that is right. None if that is not known."""
    if query.expected:
        return is_found_within(query, answer, 1)
    if query.unmatched:
        return not is_false_match(query, answer)
    return False if answer.pieces and includes_any(answer.pieces[0], query.wrong) else None


def find_changes(queries: Sequence[CompareQuery], first: GenerationResult, second: GenerationResult) -> list[Change]:
    """Return where the two differ: first what got worse, then what got better, then the rest."""
    pairs = [Change(*each) for each in zip(queries, first.answers, second.answers, strict=True)]
    differing = [each for each in pairs if each.before.verdict != each.after.verdict or each.right[0] != each.right[1]]
    return sorted(differing, key=lambda change: (change.gain >= 0, change.gain == 0))


def build_table_rows(queries: Sequence[CompareQuery], *results: GenerationResult) -> list[tuple[str, ...]]:
    """Return the numbers of all results side by side, as text, headings first."""
    answerable = [number for number, query in enumerate(queries) if query.expected]
    kinds = list(dict.fromkeys(queries[number].kind for number in answerable))

    def found(result: GenerationResult, top: int, kind: str | None = None) -> str:
        chosen = [number for number in answerable if kind in (None, queries[number].kind)]
        return str(Share(sum(is_found_within(queries[number], result.answers[number], top) for number in chosen), len(chosen)))

    def false_matches(result: GenerationResult) -> str:
        wrong = sum(is_false_match(query, answer) for query, answer in zip(queries, result.answers, strict=True))
        return str(Share(wrong, len(queries)))

    table = [
        ("", *(result.generation.name for result in results)),
        ("encoder", *(encoder_label(result.generation.encoder) for result in results)),
        ("right piece first (recall@1)", *(found(result, 1) for result in results)),
        ("right piece in first 3 (recall@3)", *(found(result, 3) for result in results)),
        ("false matches", *(false_matches(result) for result in results)),
    ]
    if len(kinds) > 1:
        table += [(f"first: {kind}", *(found(result, 1, kind) for result in results)) for kind in kinds]
    return [
        *table,
        ("time to the answer, p50", *(f"{result.milliseconds(50):.1f} ms" for result in results)),
        ("time to the answer, p95", *(f"{result.milliseconds(95):.1f} ms" for result in results)),
        ("vectors", *(f"{result.vectors:,} with {result.generation.dimensions} dimensions" for result in results)),
        ("storage", *(decimal(result.stored_bytes) for result in results)),
    ]
