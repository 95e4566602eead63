"""Make the files of the benchmark: the gallery as it is posted, and the queries. Files of the same plan in a folder are reused."""

import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from typing import TypeVar

import numpy as np
import orjson
from PIL import Image

from contracts.errors import MapSeekError
from contracts.events import Quad
from infra.sandbox import art
from infra.vision.distortions import encode_jpeg, encode_png
from tests.quality.categories import ALL, BY_NAME, OUTLINED_CATEGORIES, Category, QueryInput, encode_file
from tests.quality.pieces import FIRST_STRANGER, Art, Pieces

J = TypeVar("J")
R = TypeVar("R")
JPEG_MAGIC = b"\xff\xd8"
NO_MATCH_SHARE = 0.22
"""The share of no-matches in each category."""
ORIGINAL_SHARE = 0.12
"""The share of the gallery that is posted as the original art, not as a map."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The parameters of a benchmark."""

    pieces: int
    queries: int
    seed: int
    photos: tuple[str, ...]
    categories: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Query:
    """A query: its file, the piece that it shows (None: none that is archived), and the place of the piece in it."""

    name: str
    category: str
    severity: int
    family: str
    expected: int | None
    file: str
    place: Quad | None


def compute_digests(plan: Plan) -> tuple[str, str]:
    """Return the names of the folders for a plan: of its gallery and of its queries. They change when the code that makes them
    does.
    """
    modules = [art.__path__[0], *(Path(__file__).with_name(f"{name}.py") for name in ("making", "pieces", "plain", "categories"))]
    files = [file for module in map(Path, modules) for file in (sorted(module.glob("*.py")) if module.is_dir() else [module])]
    gallery = hashlib.sha256(orjson.dumps([plan.pieces, plan.seed, plan.photos]))
    for file in files:
        gallery.update(file.read_bytes())
    queries = gallery.copy()
    queries.update(str(plan.queries).encode())
    return gallery.hexdigest()[:12], queries.hexdigest()[:12]


def is_quantised(seed: int, number: int) -> bool:
    """Whether a piece is posted as a map. Plain ones always are."""
    return number % 8 == 3 or float(np.random.default_rng([seed, 2, number]).random()) >= ORIGINAL_SHARE


def make_posted_file(piece: Art, seed: int) -> bytes:
    """Return the file of a piece in the gallery: the map (one in seven enlarged) or the original."""
    rng = np.random.default_rng([seed, 3, piece.number])
    if not is_quantised(seed, piece.number):
        return encode_png(piece.original) if rng.random() < 0.3 else encode_jpeg(piece.original, int(rng.integers(80, 96)))
    factor = int(rng.integers(2, 5)) if rng.random() < 1 / 7 else 1
    size = piece.maps.width * factor, piece.maps.height * factor
    return encode_png(piece.maps.resize(size, Image.Resampling.NEAREST))


def plan_queries(plan: Plan) -> list[tuple[str, int, int, int, bool]]:
    """Return for each query: its category, its number there, its severity, its piece, and whether the piece is archived."""
    chosen = [BY_NAME[name] for name in plan.categories]
    total = sum(category.weight for category in ALL)  # of all, so that a category has the same queries when it is chosen alone
    pieces = Pieces(plan.seed, [Path(photo) for photo in plan.photos])
    queries = []
    for category in chosen:
        count = max(2, round(plan.queries * category.weight / total))
        strangers = max(1, round(count * NO_MATCH_SHARE))
        fitting = _list_fitting_pieces(category, pieces, plan)
        rng = np.random.default_rng([plan.seed, 4, *category.name.encode()])
        known = [fitting[at] for at in rng.permutation(len(fitting))] * (1 + count // len(fitting))
        first = FIRST_STRANGER + 10_000 * ALL.index(category)
        unknown = [number for number in range(first, first + 400 * strangers) if _fits(category, pieces, number)]
        for at in range(count):
            severity = category.severities[at % len(category.severities)]
            archived = at >= strangers
            queries.append((category.name, at, severity, known[at] if archived else unknown[at], archived))
    return queries


def _fits(category: Category, pieces: Pieces, number: int) -> bool:
    if category.plain != (pieces.family(number) == "plain"):
        return False
    width, height = pieces.size(number)
    return width * height >= category.panels


def _list_fitting_pieces(category: Category, pieces: Pieces, plan: Plan) -> list[int]:
    """Return the archived pieces that a category can use. Raises MapSeekError if there are none."""
    fitting = [
        number
        for number in range(plan.pieces)
        if _fits(category, pieces, number) and (not category.quantised or is_quantised(plan.seed, number))
    ]
    if not fitting:
        raise MapSeekError(
            f"{plan.pieces} pieces are too few for the queries of category {category.name}: set --pieces to 60 or more."
        )
    return fitting


def make_gallery(plan: Plan, folder: Path, report_progress: Callable[[str, int, int], None]) -> list[Path]:
    """Make the files of the gallery and return them in order of the pieces."""
    folder.mkdir(parents=True, exist_ok=True)
    jobs = [(plan, number, folder) for number in range(plan.pieces)]
    return [Path(name) for name in _run_all(_make_post, jobs, "drawing the gallery", report_progress)]


def _make_post(job: tuple[Plan, int, Path]) -> str:
    plan, number, folder = job
    files = [path for suffix in ("png", "jpg") if (path := folder / f"{number:05}.{suffix}").exists()]
    if not files:
        data = make_posted_file(Pieces(plan.seed, [Path(photo) for photo in plan.photos]).art(number), plan.seed)
        files = [folder / f"{number:05}.{'jpg' if data.startswith(JPEG_MAGIC) else 'png'}"]
        _write(files[0], data)
    return str(files[0])


def make_queries(plan: Plan, folder: Path, report_progress: Callable[[str, int, int], None]) -> list[Query]:
    """Make the queries, category by category."""
    folder.mkdir(parents=True, exist_ok=True)
    return _run_all(_make_query, [(plan, folder, *each) for each in plan_queries(plan)], "taking the pictures", report_progress)


def _make_query(job: tuple[Plan, Path, str, int, int, int, bool]) -> Query:
    plan, folder, name, at, severity, number, archived = job
    record = folder / f"{name}-{at:04}.json"
    if record.exists():
        return Query(**orjson.loads(record.read_bytes()))
    pieces = Pieces(plan.seed, [Path(photo) for photo in plan.photos])
    rng = np.random.default_rng([plan.seed, 5, at, *name.encode()])
    piece = pieces.art(number)
    picture = Image.open(BytesIO(make_posted_file(piece, plan.seed))).convert("RGB")
    near = 2 * FIRST_STRANGER + 10 * (number % FIRST_STRANGER) + (at % 7) * 1000
    others = [pieces.art(near + other).maps for other in range(int(rng.choice([0, 0, 1, 2])))]
    scene = BY_NAME[name].make(QueryInput(piece, picture, others, rng, severity))
    path = folder / f"{name}-{at:04}.{'png' if scene.quality is None else 'jpg'}"
    place = scene.place if name in OUTLINED_CATEGORIES else None
    query = Query(path.stem, name, severity, piece.family, number if archived else None, str(path), place)
    _write(path, encode_file(scene))
    _write(record, orjson.dumps(asdict(query)))
    return query


def _write(path: Path, data: bytes) -> None:
    part = path.with_suffix(".part")
    part.write_bytes(data)
    part.replace(path)


def _run_all(work: Callable[[J], R], jobs: Sequence[J], title: str, report_progress: Callable[[str, int, int], None]) -> list[R]:
    """Run the jobs on all cores and return the results in the order of the jobs."""
    results = []
    with ProcessPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for result in pool.map(work, jobs, chunksize=4):
            results.append(result)
            report_progress(title, len(results), len(jobs))
    return results
