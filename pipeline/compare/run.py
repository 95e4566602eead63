"""Run a comparison: run all queries in one generation and then in the other, so that only one model is in memory at a time.

The queries go through the same stages that answer members.
"""

import secrets
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from time import perf_counter

from contracts.errors import MapSeekError, Reject
from contracts.events import (
    Fact,
    LocalReply,
    Person,
    Question,
    SearchDescribed,
    SearchDownloaded,
    SearchEmbedded,
    SearchFingerprinted,
    SearchMatched,
    SearchPreprocessed,
)
from contracts.generations import Generation
from contracts.ports import F, ImageEncoder
from infra.clip.calibration import find_text_calibration
from infra.discord.ask.parse import parse_text_query
from infra.nats.journal import JetStreamJournal
from infra.vision.compare import Comparer
from infra.vision.fingerprint import Fingerprinter
from infra.vision.rectify import extract_views
from pipeline.cli.app import ReportProgress
from pipeline.clock import utc_now
from pipeline.compare.queries import ComparedArchive, CompareQuery, GenerationAnswer
from pipeline.compare.report import ReportPictures, collect_pictures
from pipeline.compare.score import Change, GenerationResult, find_changes
from pipeline.generations.encoders import open_generation_encoder
from pipeline.settings import Settings
from stages import embed, fingerprint, match, preprocess
from stages.matching import ArchiveFingerprints, judge_match

TOP_MATCHES = 3


@dataclass(frozen=True, slots=True)
class _Stages:
    """The dependencies of the stages that answer for one generation."""

    preprocess: preprocess.Deps
    fingerprint: fingerprint.Deps
    embed: embed.Deps
    match: match.Deps


async def answer_queries(
    generation: Generation, encoder: ImageEncoder, queries: Sequence[CompareQuery], archive: ComparedArchive, max_pixels: int
) -> AsyncIterator[GenerationAnswer]:
    """Yield the answer to each query in turn. Run the first query twice, since its first time includes warming up the model.

    Raises Unavailable if this release cannot make the generation's pictures or fingerprints.
    """
    hosted = embed.HostedEncoder(generation.name, encoder, find_text_calibration(encoder.encoder.id))
    journal = JetStreamJournal(archive.client, source="mapseek/compare", now=utc_now)
    stages = _Stages(
        preprocess.Deps(archive.query_store, archive.workers, lambda: [generation.preprocessing], max_pixels),
        fingerprint.Deps(archive.query_store, Fingerprinter(archive.workers), journal, lambda: generation.fingerprint),
        embed.Deps(archive.query_store, lambda _: hosted, views=extract_views),
        match.Deps(
            archive.vectors,
            archive.catalogue,
            archive.query_store,
            ArchiveFingerprints(archive.features, Comparer(), archive.blobs),
        ),
    )
    for query in queries[:1]:
        await _answer(query, stages)
    for query in queries:
        yield await _answer(query, stages)


async def _answer(query: CompareQuery, stages: _Stages) -> GenerationAnswer:
    search: SearchPreprocessed | SearchFingerprinted | SearchDescribed = await _prepare_search(query, stages.preprocess)
    began = perf_counter()
    try:
        if isinstance(search, SearchPreprocessed):
            search = _take_only(SearchFingerprinted, await fingerprint.handle(search, stages.fingerprint))
        embedded = _take_only(SearchEmbedded, await embed.handle(search, stages.embed))
    except Reject:
        return GenerationAnswer("error", (), (), _elapsed_ms(began))
    matched = _take_only(SearchMatched, await match.handle(embedded, stages.match))
    elapsed_ms = _elapsed_ms(began)
    sure = [piece for piece in matched.matches if judge_match(piece, embedded.calibration, embedded.by) == "match"]
    return GenerationAnswer(matched.verdict, matched.matches, sure, elapsed_ms)


def _take_only(kind: type[F], facts: Sequence[Fact]) -> F:
    (fact,) = facts
    if not isinstance(fact, kind):
        raise TypeError(f"expected {kind.type_name()}, but the stage made {fact.type_name()}")
    return fact


async def _prepare_search(query: CompareQuery, preprocessing: preprocess.Deps) -> SearchPreprocessed | SearchDescribed:
    question = Question(asker=Person(id="local", name="compare"), requested_at=utc_now(), reply=LocalReply(), top=TOP_MATCHES)
    search = {"guild_id": query.guild_id, "search_id": secrets.token_hex(16), "question": question}
    if query.picture is None:
        words = parse_text_query(query.words or "")
        return SearchDescribed.model_validate({**search, "words": words.wanted, "excluded": words.excluded})
    downloaded = SearchDownloaded.model_validate({**search, "blob": query.picture, "size": 0})
    return _take_only(SearchPreprocessed, await preprocess.handle(downloaded, preprocessing))


def _elapsed_ms(began: float) -> float:
    return (perf_counter() - began) * 1000


@dataclass(frozen=True, slots=True)
class GenerationComparison:
    """The result of a comparison."""

    queries: Sequence[CompareQuery]
    first: GenerationResult
    second: GenerationResult
    changes: Sequence[Change]
    pictures: ReportPictures

    @property
    def names(self) -> tuple[str, str]:
        return self.first.generation.name, self.second.generation.name

    @property
    def note(self) -> str | None:
        """A warning if one generation has fewer images than the other."""
        fewer, more = sorted((self.first, self.second), key=lambda result: result.vectors)
        if fewer.vectors == more.vectors:
            return None
        return (
            f"{fewer.generation.name} has vectors of {fewer.vectors:,} images, {more.generation.name} of {more.vectors:,}: "
            "it cannot find the images that it lacks."
        )


async def run_comparison(
    archive: ComparedArchive,
    pair: tuple[Generation, Generation],
    queries: Sequence[CompareQuery],
    settings: Settings,
    report_progress: ReportProgress,
) -> GenerationComparison:
    """Run all queries in both generations. Raises MapSeekError if a generation's encoder cannot be opened."""
    first, second = [await _run_queries(generation, queries, archive, settings, report_progress) for generation in pair]
    different = find_changes(queries, first, second)
    return GenerationComparison(queries, first, second, different, await collect_pictures(different, archive))


async def _run_queries(
    generation: Generation,
    queries: Sequence[CompareQuery],
    archive: ComparedArchive,
    settings: Settings,
    report_progress: ReportProgress,
) -> GenerationResult:
    encoder = await open_generation_encoder(generation, settings)
    try:
        given = list[GenerationAnswer]()
        async for answer in answer_queries(generation, encoder, queries, archive, settings.max_pixels):
            given.append(answer)
            report_progress(generation.name, len(given), len(queries))
    finally:
        await encoder.close()
    return GenerationResult(generation, archive.vectors.count(generation.name), given)


def check_vectors(archive: ComparedArchive, pair: tuple[Generation, Generation]) -> None:
    """Raise MapSeekError if a generation has no vectors."""
    for generation in pair:
        if not archive.vectors.count(generation.name):
            raise MapSeekError(f"The generation {generation.name} has no vectors yet: build it with `mapseek replay` first.")
