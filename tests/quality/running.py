"""Archives and asks as `mapseek archive` and `mapseek find` do: their code, one process, the embedded server."""

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
PATIENCE_S = 60.0
WARM_UP = 3
Told = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Answer:
    """What was told: the verdict, and the pieces with their scores, best first. `posts` are all images of each piece."""

    verdict: str
    scores: Sequence[float]
    pieces: Sequence[frozenset[int]]
    reason: str = ""


@dataclass(slots=True)
class Seen:
    """What the log says of a run: milliseconds of each fact since the one before it, by its name, the vectors and the blobs."""

    parts: dict[str, dict[str, float]] = field(default_factory=dict)
    asked: dict[str, np.ndarray] = field(default_factory=dict)
    archived: dict[int, np.ndarray] = field(default_factory=dict)
    blobs: dict[str, dict[str, None]] = field(default_factory=dict)
    generation: str = ""


@dataclass(frozen=True, slots=True)
class Ran:
    """Everything that a run gave; `archived_in_s` is 0 where the gallery was there already."""

    answers: Sequence[Answer]
    seen: Seen
    encoder: str
    archived_in_s: float
    asked_in_s: float


async def run(settings: Settings, gallery: Sequence[Path], query_blobs: Sequence[Path], told: Told, *, one_core: bool) -> Ran:
    """Archive the gallery and ask the questions, one after the other. Raises MapSeekError where a piece cannot be archived."""
    stages = [stage for stage in STAGES if {"image", "search"} & set(stage.families)]
    clock = asyncio.get_running_loop().time
    async with open_log_server(settings) as url, open_process(settings, url, stages) as process:
        began = clock()
        numbers = await _archived(process, gallery, told)
        archived_in_s, after = clock() - began, await read_last_sequence(process.container.client, SEARCHES)
        active = (await process.container.generations()).now.active
        await _asked(process, query_blobs[:WARM_UP], numbers, lambda *_: None)
        began = clock()
        with _on_one_core(one_core):
            answers = await _asked(process, query_blobs, numbers, told)
        asked_in_s = clock() - began
        seen = await _seen(process, numbers, after, active.name if active else "")
    return Ran(answers, seen, active.encoder if active else "", archived_in_s, asked_in_s)


async def _archived(process: Process, gallery: Sequence[Path], told: Told) -> dict[str, int]:
    """Archive; returns the number of the piece by image id."""
    container = process.container
    active = (await container.generations()).now.active
    problems = []
    done = 0
    files = archive_images(
        container.client, container.journal, await container.blobs(), active.name if active else "", GUILD, gallery
    )
    async for each in files:
        done += 1
        told("archiving", done, len(gallery))
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


async def _asked(process: Process, query_blobs: Sequence[Path], numbers: dict[str, int], told: Told) -> list[Answer]:
    container = process.container
    questions_of, catalogue = await container.query_blobs(), await container.catalogue()
    answers = []
    for number, path in enumerate(query_blobs, 1):
        asking = find_images(
            container.client, container.journal, questions_of, catalogue, GUILD, [path], top=TOP, timeout=PATIENCE_S
        )
        async for answer in asking:
            pieces = [_pieces(match, numbers) for match in answer.matches]
            answers.append(Answer(answer.verdict, [match.score for match in answer.matches], pieces, answer.problem or ""))
        told("asking", number, len(query_blobs))
    return answers


def _pieces(match: Match, numbers: dict[str, int]) -> frozenset[int]:
    return frozenset(numbers[image] for image in (match.image_id, *match.posts) if image in numbers)


@contextmanager
def _on_one_core(wanted: bool):  # type: ignore[no-untyped-def]
    """Every thread of this process on one core, as few as it would start there, and the log's server on the others."""
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


async def _seen(process: Process, numbers: dict[str, int], after: int, generation: str) -> Seen:
    seen, client = Seen(generation=generation), process.container.client
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
                seen.parts[name] = {}
            elif name := names.get(fact.search_id, ""):
                seen.parts[name][fact.name] = at - last[fact.search_id]
                if isinstance(fact, SearchEmbedded):
                    seen.asked[name] = np.frombuffer(fact.vector, np.float32)
            last[fact.search_id] = at
    async with aclosing(read_log(client, IMAGES, [lane_filter("image")])) as messages:
        async for message in messages:
            recorded = decode_or_warn(message)
            if recorded is not None:
                _note(recorded.fact, numbers, seen)
    return seen


def _note(fact: Fact, numbers: dict[str, int], seen: Seen) -> None:
    """Keep the vectors, and the names of the blobs by what they hold."""
    blobs: dict[str, Any] = {}
    if isinstance(fact, ImageEmbedded) and fact.generation == seen.generation and fact.image_id in numbers:
        seen.archived[numbers[fact.image_id]] = np.frombuffer(fact.vector, np.float32)
    elif isinstance(fact, ImageDownloaded):
        blobs = {"as posted": fact.blob}
    elif isinstance(fact, ImagePreprocessed):
        blobs = {"pixels": fact.pixels, "thumbnail": fact.thumbnail}
    elif name := getattr(fact, "fingerprint", None):
        blobs = {"fingerprint": name}
    for kind, name in blobs.items():
        seen.blobs.setdefault(kind, {})[name] = None
