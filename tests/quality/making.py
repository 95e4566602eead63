"""Makes the files: the gallery as it is posted, and the questions. What a folder has of the same plan already is kept."""

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
from tests.quality.categories import ALL, BY_NAME, OUTLINED, Category, Lot, file_of
from tests.quality.pieces import STRANGERS, Art, Pieces

J = TypeVar("J")
R = TypeVar("R")
JPEG = b"\xff\xd8"
UNMATCHED = 0.22
"""The share of no-matches in every category."""
UNTOUCHED = 0.12
"""The share of the gallery that was posted as the original art, not as a map."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a benchmark is made of."""

    pieces: int
    queries: int
    seed: int
    photos: tuple[str, ...]
    categories: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Query:
    """A question: the file, what it shows (None: nothing that was archived), and where in it."""

    name: str
    category: str
    severity: int
    family: str
    expected: int | None
    file: str
    place: Quad | None


def digests(plan: Plan) -> tuple[str, str]:
    """Names of what is made for a plan by the code as it is: of its gallery, and of its questions."""
    modules = [art.__path__[0], *(Path(__file__).with_name(f"{name}.py") for name in ("making", "pieces", "plain", "categories"))]
    files = [file for module in map(Path, modules) for file in (sorted(module.glob("*.py")) if module.is_dir() else [module])]
    gallery = hashlib.sha256(orjson.dumps([plan.pieces, plan.seed, plan.photos]))
    for file in files:
        gallery.update(file.read_bytes())
    questions = gallery.copy()
    questions.update(str(plan.queries).encode())
    return gallery.hexdigest()[:12], questions.hexdigest()[:12]


def quantised(seed: int, number: int) -> bool:
    """Whether a piece was posted as a map; plain ones always are."""
    return number % 8 == 3 or float(np.random.default_rng([seed, 2, number]).random()) >= UNTOUCHED


def posted(piece: Art, seed: int) -> bytes:
    """The file of a piece in the gallery: the map, one in seven of them enlarged, or the original."""
    rng = np.random.default_rng([seed, 3, piece.number])
    if not quantised(seed, piece.number):
        return encode_png(piece.original) if rng.random() < 0.3 else encode_jpeg(piece.original, int(rng.integers(80, 96)))
    factor = int(rng.integers(2, 5)) if rng.random() < 1 / 7 else 1
    size = piece.maps.width * factor, piece.maps.height * factor
    return encode_png(piece.maps.resize(size, Image.Resampling.NEAREST))


def planned(plan: Plan) -> list[tuple[str, int, int, int, bool]]:
    """Category, its place there, severity, piece and whether that is archived, of every question."""
    chosen = [BY_NAME[name] for name in plan.categories]
    total = sum(category.weight for category in ALL)  # of all, so that a category has the same questions when it is asked alone
    pieces = Pieces(plan.seed, [Path(photo) for photo in plan.photos])
    questions = []
    for category in chosen:
        count = max(2, round(plan.queries * category.weight / total))
        strangers = max(1, round(count * UNMATCHED))
        fitting = _fitting(category, pieces, plan)
        rng = np.random.default_rng([plan.seed, 4, *category.name.encode()])
        known = [fitting[at] for at in rng.permutation(len(fitting))] * (1 + count // len(fitting))
        first = STRANGERS + 10_000 * ALL.index(category)
        unknown = [number for number in range(first, first + 400 * strangers) if _fits(category, pieces, number)]
        for at in range(count):
            severity = category.severities[at % len(category.severities)]
            archived = at >= strangers
            questions.append((category.name, at, severity, known[at] if archived else unknown[at], archived))
    return questions


def _fits(category: Category, pieces: Pieces, number: int) -> bool:
    if category.plain != (pieces.family(number) == "plain"):
        return False
    width, height = pieces.size(number)
    return width * height >= category.panels


def _fitting(category: Category, pieces: Pieces, plan: Plan) -> list[int]:
    """The archived pieces that a category can ask for. Raises MapSeekError where there are none."""
    fitting = [
        number
        for number in range(plan.pieces)
        if _fits(category, pieces, number) and (not category.quantised or quantised(plan.seed, number))
    ]
    if not fitting:
        raise MapSeekError(
            f"{plan.pieces} pieces are too few for the questions of category {category.name}: give --pieces 60 or more."
        )
    return fitting


def make_gallery(plan: Plan, folder: Path, told: Callable[[str, int, int], None]) -> list[Path]:
    """The files of the gallery, by the number of the piece."""
    folder.mkdir(parents=True, exist_ok=True)
    jobs = [(plan, number, folder) for number in range(plan.pieces)]
    return [Path(name) for name in _all(_post, jobs, "drawing the gallery", told)]


def _post(job: tuple[Plan, int, Path]) -> str:
    plan, number, folder = job
    made = [path for suffix in ("png", "jpg") if (path := folder / f"{number:05}.{suffix}").exists()]
    if not made:
        data = posted(Pieces(plan.seed, [Path(photo) for photo in plan.photos]).art(number), plan.seed)
        made = [folder / f"{number:05}.{'jpg' if data.startswith(JPEG) else 'png'}"]
        _write(made[0], data)
    return str(made[0])


def make_queries(plan: Plan, folder: Path, told: Callable[[str, int, int], None]) -> list[Query]:
    """The questions, category by category."""
    folder.mkdir(parents=True, exist_ok=True)
    return _all(_ask, [(plan, folder, *each) for each in planned(plan)], "taking the pictures", told)


def _ask(job: tuple[Plan, Path, str, int, int, int, bool]) -> Query:
    plan, folder, name, at, severity, number, archived = job
    kept = folder / f"{name}-{at:04}.json"
    if kept.exists():
        return Query(**orjson.loads(kept.read_bytes()))
    pieces = Pieces(plan.seed, [Path(photo) for photo in plan.photos])
    rng = np.random.default_rng([plan.seed, 5, at, *name.encode()])
    piece = pieces.art(number)
    picture = Image.open(BytesIO(posted(piece, plan.seed))).convert("RGB")
    near = 2 * STRANGERS + 10 * (number % STRANGERS) + (at % 7) * 1000
    others = [pieces.art(near + other).maps for other in range(int(rng.choice([0, 0, 1, 2])))]
    scene = BY_NAME[name].make(Lot(piece, picture, others, rng, severity))
    path = folder / f"{name}-{at:04}.{'png' if scene.quality is None else 'jpg'}"
    place = scene.place if name in OUTLINED else None
    query = Query(path.stem, name, severity, piece.family, number if archived else None, str(path), place)
    _write(path, file_of(scene))
    _write(kept, orjson.dumps(asdict(query)))
    return query


def _write(path: Path, data: bytes) -> None:
    part = path.with_suffix(".part")
    part.write_bytes(data)
    part.replace(path)


def _all(work: Callable[[J], R], jobs: Sequence[J], title: str, told: Callable[[str, int, int], None]) -> list[R]:
    """The results of the work, done on all cores, in the order of the jobs."""
    results = []
    with ProcessPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for result in pool.map(work, jobs, chunksize=4):
            results.append(result)
            told(title, len(results), len(jobs))
    return results
