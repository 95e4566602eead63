"""Collects the questions of all sorts that there are for an archive."""

from contextlib import aclosing
from pathlib import Path

from contracts.errors import MapSeekError
from contracts.events import SearchJudged
from contracts.subjects import JUDGEMENTS, kind_filter
from infra.nats.reader import past, readable
from pipeline.compare.archive import Archive
from pipeline.compare.held import held_queries
from pipeline.compare.queries import Query, judged_queries
from pipeline.compare.sampled import sampled_queries

SAMPLE = 50
"""Archived pictures that are asked with where nobody judged anything and nothing is held."""


async def gathered(archive: Archive, folder: Path | None, sample: int | None, max_pixels: int) -> list[Query]:
    """The judged searches, then the held pictures, then the sample. Raises MapSeekError when there is none of them."""
    queries = await _judged(archive)
    if folder is not None:
        queries += await held_queries(folder, archive.questions, archive.catalogue, max_pixels)
    if sample is None:
        sample = 0 if queries else SAMPLE
    queries += await sampled_queries(sample, archive.blobs, archive.questions, archive.catalogue)
    if not queries:
        raise MapSeekError(
            "There is nothing to compare by: no search is judged yet and no picture archived; give some with --queries."
        )
    return queries


async def _judged(archive: Archive) -> list[Query]:
    votes = []
    async with aclosing(past(archive.client, JUDGEMENTS, [kind_filter(SearchJudged)])) as messages:
        async for message in messages:
            recorded = readable(message)
            if recorded is not None and isinstance(recorded.fact, SearchJudged):
                votes.append(recorded.fact)
    queries = judged_queries(votes, await archive.catalogue.entries({vote.image_id for vote in votes}))
    return [query for query in queries if query.picture is None or await archive.questions.exists(query.picture)]
