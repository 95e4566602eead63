"""`python -m tests.quality.fitting`: fits the weights of infra/vision/compare.py, and judges them on other pieces.

Every question is compared with the pieces that the index of features proposes, and each of these pairs is an example. Nothing is
written: the weights that are printed are copied by hand.
"""

import asyncio
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console

from infra.features.index import FeatureIndex, build_entry
from infra.vision.compare import CHOSEN_TERMS, TERM_WEIGHTS, MatchMeasures, compute_terms, find_hypotheses, prepare_query
from infra.vision.fingerprint import make_archived_print, make_query_print
from infra.vision.prints import pack_print, unpack_print
from infra.vision.rectify import decode_picture
from pipeline.local.archive_and_find import list_images_under
from stages.matching import MATCH_AT, MAX_BY_FEATURES
from tests.quality.categories import BY_NAME
from tests.quality.making import Plan, Query, make_gallery, make_queries

HERE = Path(__file__).parents[2]
RIDGE = 0.05
STEPS = 60

Numbers = NDArray[np.float64]


class Example(NamedTuple):
    """A question and one of the pieces that it was compared with."""

    question: str
    measures: MatchMeasures
    right: bool


def main(
    pieces: Annotated[int, typer.Option(min=60, help="Pieces in each of the two archives.")] = 300,
    queries: Annotated[int, typer.Option(min=50, help="Questions to each.")] = 600,
    seed: Annotated[int, typer.Option(min=0, help="Of the archive to fit on; the next one's is judged on.")] = 7_000,
    out: Annotated[Path, typer.Option(help="Where the files are kept: what is there is not made again.")] = HERE / "bench-quality",
    art: Annotated[Path, typer.Option(help="A folder of photographs to use besides procedural art.")] = HERE.parent / "shared/art",
) -> None:
    """Fit on one archive, judge on another."""
    photos = tuple(map(str, list_images_under([art]))) if art.is_dir() else ()
    plans = [Plan(pieces, queries, each, photos, tuple(BY_NAME)) for each in (seed, seed + 1)]
    learnt, judged = (_examples(plan, out / f"fitting-{plan.seed}") for plan in plans)
    weights = fitted(learnt)
    for name, values in (("as they are", np.array(TERM_WEIGHTS)), ("as fitted", weights)):
        Console().print(f"Weights {name}: {', '.join(f'{each:.2f}' for each in values)}")
        for which, examples in (("fitted on", learnt), ("judged on", judged)):
            Console().print(f"  {which}: {verdicts(examples, values)}")


def fitted(examples: Sequence[Example]) -> Numbers:
    """The weights by maximum likelihood with a small ridge; those that are CHOSEN stay as they are."""
    rows = np.array([compute_terms(each.measures) for each in examples])
    right = np.array([each.right for each in examples], np.float64)
    free = np.array([at not in CHOSEN_TERMS for at in range(rows.shape[1])])
    weights = np.array(TERM_WEIGHTS)
    for _ in range(STEPS):
        sure = 1 / (1 + np.exp(-np.clip(rows @ weights, -36, 36)))
        slope = rows[:, free].T @ (right - sure) - RIDGE * weights[free]
        bend = (rows[:, free] * (sure * (1 - sure))[:, None]).T @ rows[:, free] + RIDGE * np.eye(int(free.sum()))
        weights[free] += np.linalg.solve(bend, slope)
    return weights


def verdicts(examples: Sequence[Example], weights: Numbers) -> str:
    """What these weights would have said."""
    sure = 1 / (1 + np.exp(-np.clip(np.array([compute_terms(each.measures) for each in examples]) @ weights, -36, 36)))
    right = np.array([each.right for each in examples])
    asked = len({each.question for each in examples})
    called = {each.question for each, at in zip(examples, sure, strict=True) if not each.right and at >= MATCH_AT}
    return (
        f"of {int(right.sum())} right pairs {100 * float((sure[right] >= MATCH_AT).mean()):.1f} % are matches; "
        f"of {asked} questions {len(called)} match a wrong piece, the surest at {float(sure[~right].max()):.3f}"
    )


def _examples(plan: Plan, folder: Path) -> list[Example]:
    """All pairs of an archive and its questions."""
    console = Console(stderr=True)
    gallery = make_gallery(plan, folder / "gallery", lambda *_: None)
    queries = make_queries(plan, folder / "questions", lambda *_: None)
    console.print(f"seed {plan.seed}: {len(gallery)} pieces, {len(queries)} questions")
    with ProcessPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        prints = list(pool.map(_archived, gallery, chunksize=4))
        index = FeatureIndex()
        for number, data in enumerate(prints):
            made = unpack_print(data)
            index.add("", "", str(number), "", build_entry(f"{number:064x}", made.hash.hex(), made.quality, data))
        asked = list(pool.map(_asked, [query.file for query in queries], chunksize=4))
        proposed = [asyncio.run(index.candidates("", "", data, top=MAX_BY_FEATURES, channels=None)) for data in asked]
        jobs = [
            (query, data, {each.image_id: prints[int(each.image_id)] for each in found}, plan.pieces)
            for query, data, found in zip(queries, asked, proposed, strict=True)
        ]
        return [example for examples in pool.map(_compared, jobs, chunksize=4) for example in examples]


def _archived(path: Path) -> bytes:
    return pack_print(make_archived_print(decode_picture(path.read_bytes())))


def _asked(path: str) -> bytes:
    return pack_print(make_query_print(decode_picture(Path(path).read_bytes())))


def _compared(job: tuple[Query, bytes, dict[str, bytes], int]) -> list[Example]:
    query, data, archived, among = job
    hypotheses = find_hypotheses(
        prepare_query(unpack_print(data)), {each: unpack_print(made) for each, made in archived.items()}, {}, among
    )
    return [Example(query.name, hypothesis.measures, int(each) == query.expected) for each, hypothesis in hypotheses.items()]


if __name__ == "__main__":
    typer.run(main)
