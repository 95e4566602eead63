"""`python -m tests.quality.fitting`: fit the weights of infra/vision/compare.py, and test them on other pieces.

Each query is compared with the candidates of the feature index, and each of these pairs is an example. The command only prints the
weights: they are copied by hand.
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
    """A query and one of the pieces that it was compared with."""

    query: str
    measures: MatchMeasures
    right: bool


def main(
    pieces: Annotated[int, typer.Option(min=60, help="Pieces in each of the two archives.")] = 300,
    queries: Annotated[int, typer.Option(min=50, help="Queries to each.")] = 600,
    seed: Annotated[
        int, typer.Option(min=0, help="The seed of the archive to fit on. The archive of the next seed is used to test.")
    ] = 7_000,
    out: Annotated[Path, typer.Option(help="Where the files are stored. What is there already is not made again.")] = HERE
    / "bench-quality",
    art: Annotated[Path, typer.Option(help="A folder of photographs to use in addition to procedural art.")] = HERE.parent
    / "shared/art",
) -> None:
    """Fit on one archive, test on another."""
    photos = tuple(map(str, list_images_under([art]))) if art.is_dir() else ()
    plans = [Plan(pieces, queries, each, photos, tuple(BY_NAME)) for each in (seed, seed + 1)]
    train, test = (_collect_examples(plan, out / f"fitting-{plan.seed}") for plan in plans)
    weights = fit_weights(train)
    for name, values in (("as they are", np.array(TERM_WEIGHTS)), ("as fitted", weights)):
        Console().print(f"Weights {name}: {', '.join(f'{each:.2f}' for each in values)}")
        for which, examples in (("fitted on", train), ("tested on", test)):
            Console().print(f"  {which}: {describe_verdicts(examples, values)}")


def fit_weights(examples: Sequence[Example]) -> Numbers:
    """Fit the weights by maximum likelihood with a small ridge. The weights of CHOSEN_TERMS stay as they are."""
    rows = np.array([compute_terms(each.measures) for each in examples])
    right = np.array([each.right for each in examples], np.float64)
    free = np.array([at not in CHOSEN_TERMS for at in range(rows.shape[1])])
    weights = np.array(TERM_WEIGHTS)
    for _ in range(STEPS):
        probabilities = 1 / (1 + np.exp(-np.clip(rows @ weights, -36, 36)))
        gradient = rows[:, free].T @ (right - probabilities) - RIDGE * weights[free]
        hessian = (rows[:, free] * (probabilities * (1 - probabilities))[:, None]).T @ rows[:, free] + RIDGE * np.eye(
            int(free.sum())
        )
        weights[free] += np.linalg.solve(hessian, gradient)
    return weights


def describe_verdicts(examples: Sequence[Example], weights: Numbers) -> str:
    """Describe the verdicts that these weights would give."""
    probabilities = 1 / (1 + np.exp(-np.clip(np.array([compute_terms(each.measures) for each in examples]) @ weights, -36, 36)))
    right = np.array([each.right for each in examples])
    query_count = len({each.query for each in examples})
    called = {each.query for each, at in zip(examples, probabilities, strict=True) if not each.right and at >= MATCH_AT}
    return (
        f"of {int(right.sum())} right pairs {100 * float((probabilities[right] >= MATCH_AT).mean()):.1f} % are matches; "
        f"of {query_count} queries {len(called)} match a wrong piece, the surest at {float(probabilities[~right].max()):.3f}"
    )


def _collect_examples(plan: Plan, folder: Path) -> list[Example]:
    """Return the examples of an archive: all pairs of a query and a candidate."""
    console = Console(stderr=True)
    gallery = make_gallery(plan, folder / "gallery", lambda *_: None)
    queries = make_queries(plan, folder / "questions", lambda *_: None)
    console.print(f"seed {plan.seed}: {len(gallery)} pieces, {len(queries)} questions")
    with ProcessPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        prints = list(pool.map(_pack_archived, gallery, chunksize=4))
        index = FeatureIndex()
        for number, data in enumerate(prints):
            made = unpack_print(data)
            index.add("", "", str(number), "", build_entry(f"{number:064x}", made.hash.hex(), made.quality, data))
        query_prints = list(pool.map(_pack_query, [query.file for query in queries], chunksize=4))
        proposed = [asyncio.run(index.candidates("", "", data, top=MAX_BY_FEATURES, channels=None)) for data in query_prints]
        jobs = [
            (query, data, {each.image_id: prints[int(each.image_id)] for each in found}, plan.pieces)
            for query, data, found in zip(queries, query_prints, proposed, strict=True)
        ]
        return [example for examples in pool.map(_compare, jobs, chunksize=4) for example in examples]


def _pack_archived(path: Path) -> bytes:
    return pack_print(make_archived_print(decode_picture(path.read_bytes())))


def _pack_query(path: str) -> bytes:
    return pack_print(make_query_print(decode_picture(Path(path).read_bytes())))


def _compare(job: tuple[Query, bytes, dict[str, bytes], int]) -> list[Example]:
    query, data, archived, among = job
    hypotheses = find_hypotheses(
        prepare_query(unpack_print(data)), {each: unpack_print(made) for each, made in archived.items()}, {}, among
    )
    return [Example(query.name, hypothesis.measures, int(each) == query.expected) for each, hypothesis in hypotheses.items()]


if __name__ == "__main__":
    typer.run(main)
