"""One comparison: its questions are asked in one generation after the other, so that only one model is in memory at a time."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from contracts.errors import MapSeekError
from contracts.generations import Generation
from pipeline.compare.archive import Archive
from pipeline.compare.asking import answers
from pipeline.compare.pictures import Pictures, pictures_of
from pipeline.compare.queries import Answer, Query
from pipeline.compare.score import Change, Result, changes
from pipeline.generations.encoders import open_encoder_of
from pipeline.settings import Settings

Progress = Callable[[str, int, int], None]
"""Told which generation is asked, how many questions it has answered, and of how many."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """All that a comparison found out."""

    queries: Sequence[Query]
    first: Result
    second: Result
    changes: Sequence[Change]
    pictures: Pictures

    @property
    def names(self) -> tuple[str, str]:
        return self.first.generation.name, self.second.generation.name

    @property
    def note(self) -> str | None:
        """A caution, where one generation holds fewer images than the other."""
        fewer, more = sorted((self.first, self.second), key=lambda result: result.vectors)
        if fewer.vectors == more.vectors:
            return None
        return (
            f"{fewer.generation.name} has vectors of {fewer.vectors:,} images, {more.generation.name} of {more.vectors:,}: "
            "what is missing cannot be found."
        )


async def compared(
    archive: Archive, pair: tuple[Generation, Generation], queries: Sequence[Query], settings: Settings, progress: Progress
) -> Comparison:
    """Ask both generations. Raises MapSeekError for one whose encoder is not to be had."""
    first, second = [await _result(generation, queries, archive, settings, progress) for generation in pair]
    different = changes(queries, first, second)
    return Comparison(queries, first, second, different, await pictures_of(different, archive))


async def _result(
    generation: Generation, queries: Sequence[Query], archive: Archive, settings: Settings, progress: Progress
) -> Result:
    encoder = await open_encoder_of(generation, settings)
    try:
        given = list[Answer]()
        async for answer in answers(generation, encoder, queries, archive, settings.max_pixels):
            given.append(answer)
            progress(generation.name, len(given), len(queries))
    finally:
        await encoder.close()
    return Result(generation, archive.vectors.count(generation.name), given)


def check_vectors(archive: Archive, pair: tuple[Generation, Generation]) -> None:
    """Raises MapSeekError for a generation that has no vectors."""
    for generation in pair:
        if not archive.vectors.count(generation.name):
            raise MapSeekError(f"The generation {generation.name} has no vectors yet: build it with `mapseek replay` first.")
