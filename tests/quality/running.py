"""Archive the gallery and search with the code of `mapseek archive` and `mapseek find`, in one process with the embedded server."""

import asyncio
import os
from collections.abc import Callable, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from contracts.errors import MapSeekError
from contracts.events import (
    Fact,
    ImageDownloaded,
    ImageEmbedded,
    ImagePosted,
    ImagePreprocessed,
    Match,
    SearchEmbedded,
    SearchFact,
    SearchRequested,
)
from contracts.subjects import IMAGES, SEARCHES, kind_filter, lane_filter
from infra.nats.reader import decode_or_warn, read_last_sequence, read_log
from pipeline.engine.registry import STAGES
from pipeline.local.archive_and_find import archive_images, find_images
from pipeline.process import Process, open_log_server, open_process
from pipeline.settings import Settings

GUILD = "local"
TOP = 3
ANSWER_TIMEOUT_S = 60.0
WARM_UP = 3
ReportProgress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a query: the verdict, and the pieces with their scores, best first. `pieces` are the numbers of each one's
    posts.
    """

    verdict: str
    scores: Sequence[float]
    pieces: Sequence[frozenset[int]]
    reason: str = ""


@dataclass(slots=True)
class RunLog:
    """What the log has of a run: for each query the milliseconds from fact to fact, by name, and the vectors and blobs."""

    durations: dict[str, dict[str, float]] = field(default_factory=dict)
    query_vectors: dict[str, np.ndarray] = field(default_factory=dict)
    archived_vectors: dict[int, np.ndarray] = field(default_factory=dict)
    blobs: dict[str, dict[str, None]] = field(default_factory=dict)
    generation: str = ""


@dataclass(frozen=True, slots=True)
class RunResult:
    """The result of a run. `archived_in_s` is about 0 if the gallery was archived already."""

    answers: Sequence[Answer]
    run_log: RunLog
    encoder: str
    archived_in_s: float
    searched_in_s: float


async def run_benchmark(
    settings: Settings, gallery: Sequence[Path], query_files: Sequence[Path], report_progress: ReportProgress, *, one_core: bool
) -> RunResult:
    """Archive the gallery, then search for the queries one after the other. Raises MapSeekError if a piece cannot be archived."""
    stages = [stage for stage in STAGES if {"image", "search"} & set(stage.families)]
    clock = asyncio.get_running_loop().time
    async with open_log_server(settings) as address, open_process(settings, address, stages) as process:
        started = clock()
        numbers = await _archive(process, gallery, report_progress)
        archived_in_s, after = clock() - started, await read_last_sequence(process.container.client, SEARCHES)
        active = (await process.container.generations()).now.active
        await _search(process, query_files[:WARM_UP], numbers, lambda *_: None)
        started = clock()
        with _on_one_core(one_core):
            answers = await _search(process, query_files, numbers, report_progress)
        searched_in_s = clock() - started
        run_log = await _read_log(process, numbers, after, active.name if active else "")
    return RunResult(answers, run_log, active.encoder if active else "", archived_in_s, searched_in_s)


async def _archive(process: Process, gallery: Sequence[Path], report_progress: ReportProgress) -> dict[str, int]:
    """Archive the gallery. Returns the numbers of the pieces by image id."""
    container = process.container
    active = (await container.generations()).now.active
    problems = []
    done = 0
    files = archive_images(
        container.client, container.journal, await container.blobs(), active.name if active else "", GUILD, gallery
    )
    async for each in files:
        done += 1
        report_progress("archiving", done, len(gallery))
        if each.problem is not None:
            problems.append(f"{each.path.name}: {each.problem}")
    if problems:
        raise MapSeekError(f"{len(problems)} pieces of the gallery could not be archived, the first is {problems[0]}.")
    numbers = {path.name: number for number, path in enumerate(gallery)}
    ids: dict[str, int] = {}
    async with aclosing(read_log(container.client, IMAGES, [kind_filter(ImagePosted)])) as messages:
        async for message in messages:
            recorded = decode_or_warn(message)
            if recorded and isinstance(fact := recorded.fact, ImagePosted) and fact.filename in numbers:
                ids[fact.image_id] = numbers[fact.filename]
    return ids


async def _search(
    process: Process, query_files: Sequence[Path], numbers: dict[str, int], report_progress: ReportProgress
) -> list[Answer]:
    container = process.container
    query_blobs, catalogue = await container.query_blobs(), await container.catalogue()
    answers = []
    for number, path in enumerate(query_files, 1):
        answers_found = find_images(
            container.client, container.journal, query_blobs, catalogue, GUILD, [path], top=TOP, timeout=ANSWER_TIMEOUT_S
        )
        async for answer in answers_found:
            pieces = [_piece_numbers(match, numbers) for match in answer.matches]
            answers.append(Answer(answer.verdict, [match.score for match in answer.matches], pieces, answer.problem or ""))
        report_progress("asking", number, len(query_files))
    return answers


def _piece_numbers(match: Match, numbers: dict[str, int]) -> frozenset[int]:
    return frozenset(numbers[image] for image in (match.image_id, *match.posts) if image in numbers)


@contextmanager
def _on_one_core(wanted: bool):  # type: ignore[no-untyped-def]
    """Run all threads of this process on one core, with one thread each for torch and OpenCV. The log server may use the others."""
    if not wanted:
        yield
        return
    cores, threads, of_pictures = os.sched_getaffinity(0), torch.get_num_threads(), cv2.getNumThreads()
    _pin({max(cores)})
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(of_pictures)
        torch.set_num_threads(threads)
        _pin(cores)


def _pin(cores: set[int]) -> None:
    for thread in Path("/proc/self/task").iterdir():
        os.sched_setaffinity(int(thread.name), cores)


async def _read_log(process: Process, numbers: dict[str, int], after: int, generation: str) -> RunLog:
    run_log, client = RunLog(generation=generation), process.container.client
    names: dict[str, str] = {}
    last: dict[str, float] = {}
    async with aclosing(read_log(client, SEARCHES, [lane_filter("search")], after=after)) as messages:
        async for message in messages:
            recorded = decode_or_warn(message)
            if recorded is None or not isinstance(fact := recorded.fact, SearchFact):
                continue
            at = datetime.fromisoformat((message.headers or {})["ce-time"]).timestamp() * 1000
            if isinstance(fact, SearchRequested):
                names[fact.search_id] = name = Path(fact.filename).stem
                run_log.durations[name] = {}
            elif name := names.get(fact.search_id, ""):
                run_log.durations[name][fact.name] = at - last[fact.search_id]
                if isinstance(fact, SearchEmbedded):
                    run_log.query_vectors[name] = np.frombuffer(fact.vector, np.float32)
            last[fact.search_id] = at
    async with aclosing(read_log(client, IMAGES, [lane_filter("image")])) as messages:
        async for message in messages:
            recorded = decode_or_warn(message)
            if recorded is not None:
                _record(recorded.fact, numbers, run_log)
    return run_log


def _record(fact: Fact, numbers: dict[str, int], run_log: RunLog) -> None:
    """Record the vectors, and the names of the blobs by their content."""
    blobs: dict[str, Any] = {}
    if isinstance(fact, ImageEmbedded) and fact.generation == run_log.generation and fact.image_id in numbers:
        run_log.archived_vectors[numbers[fact.image_id]] = np.frombuffer(fact.vector, np.float32)
    elif isinstance(fact, ImageDownloaded):
        blobs = {"as posted": fact.blob}
    elif isinstance(fact, ImagePreprocessed):
        blobs = {"pixels": fact.pixels, "thumbnail": fact.thumbnail}
    elif name := getattr(fact, "fingerprint", None):
        blobs = {"fingerprint": name}
    for kind, name in blobs.items():
        run_log.blobs.setdefault(kind, {})[name] = None
