"""A question compared with archived pictures: surest of the one that it shows, with the reason, whatever the question is."""

import time
from itertools import count

import cv2
import numpy as np
import pytest

from contracts.events import Panel
from contracts.ports import PrintComparer
from infra.sandbox.art.generate import draw_piece
from infra.vision import overlay
from infra.vision.compare import Comparer, compare_prints
from infra.vision.fingerprint import make_archived_print, make_query_print
from infra.vision.prints import pack_print
from stages.matching import MATCH_AT, VERIFIED_AT

SEEDS = (4, 7, 8, 17, 20, 21)


def pixels_of(seed):
    return np.asarray(draw_piece(seed))


def asked_for(picture):
    return pack_print(make_query_print(np.ascontiguousarray(picture)))


@pytest.fixture(scope="module")
def archive():
    return {str(seed): pack_print(make_archived_print(pixels_of(seed))) for seed in SEEDS}


def on_a_wall(picture, corners=((0.2, 0.1), (0.8, 0.2), (0.75, 0.9), (0.22, 0.8)), size=(800, 600)):
    height, width = picture.shape[:2]
    source = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    matrix = cv2.getPerspectiveTransform(source - 0.5, (np.array(corners) * size).astype(np.float32) - 0.5)
    wall = np.full((size[1], size[0], 3), 90, np.uint8)
    return cv2.warpPerspective(picture, matrix, size, wall, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_TRANSPARENT)


def only_match(told, image_id):
    return told[image_id].probability >= MATCH_AT and all(
        other.probability < VERIFIED_AT for one, other in told.items() if one != image_id
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_the_same_file_is_told_by_its_hash(archive, seed):
    told = compare_prints(asked_for(pixels_of(seed)), archive, {}, archive_size=2_000)
    evidence = told[str(seed)].evidence

    assert only_match(told, str(seed))
    assert evidence.by == "hash"
    assert (evidence.turn, evidence.mirrored, evidence.angle, evidence.panel) == (0, False, False, None)
    assert evidence.shown > 0.95
    assert evidence.place == pytest.approx((0, 0, 1, 0, 1, 1, 0, 1), abs=0.03)


@pytest.mark.parametrize("seed", [4, 7, 8])
def test_a_picture_on_a_wall_is_told_by_its_points_and_its_place(archive, seed):
    told = compare_prints(asked_for(on_a_wall(pixels_of(seed))), archive, {}, archive_size=2_000)
    evidence = told[str(seed)].evidence

    assert only_match(told, str(seed))
    assert evidence.by == "points"
    assert evidence.points >= 12
    assert evidence.angle
    assert evidence.place == pytest.approx((0.2, 0.1, 0.8, 0.2, 0.75, 0.9, 0.22, 0.8), abs=0.02)


TURNS = [(1, False), (2, False), (3, True), (0, True)]
TWINS = (7, 1, False)
"""Turned like this, the crescent and the windows of one piece lie where another one has such."""


@pytest.mark.parametrize(
    ("seed", "quarters", "mirrored"), [(seed, *turn) for seed in (4, 7, 8) for turn in TURNS if (seed, *turn) != TWINS]
)
def test_turned_and_mirrored_pictures_are_named(archive, seed, quarters, mirrored):
    told = compare_prints(asked_for(turned(seed, quarters, mirrored)), archive, {}, archive_size=2_000)

    assert only_match(told, str(seed))
    assert (told[str(seed)].evidence.turn, told[str(seed)].evidence.mirrored) == (90 * quarters, mirrored)


def test_a_piece_with_the_same_motif_is_no_match_beside_the_right_one(archive):
    seed, quarters, mirrored = TWINS
    told = compare_prints(asked_for(turned(seed, quarters, mirrored)), archive, {}, archive_size=2_000)

    assert [image_id for image_id, each in told.items() if each.probability >= MATCH_AT] == [str(seed)]
    assert (told[str(seed)].evidence.turn, told[str(seed)].evidence.mirrored) == (90 * quarters, mirrored)


def turned(seed, quarters, mirrored):
    picture = pixels_of(seed)
    return np.rot90(picture[:, ::-1] if mirrored else picture, -quarters)


def test_one_map_of_a_larger_piece_is_told():
    large = next(np.asarray(made) for made in (draw_piece(seed) for seed in range(7, 400, 13)) if made.size == (384, 256))
    told = compare_prints(asked_for(large[128:, 128:256]), {"1": pack_print(make_archived_print(large))}, {}, archive_size=2_000)

    assert told["1"].probability > VERIFIED_AT
    assert told["1"].evidence.panel == Panel(row=2, column=2, rows=2, columns=3)


def test_a_variant_ranks_below_the_piece_itself():
    picture = pixels_of(4)
    variant = picture.copy()
    height, width = variant.shape[:2]
    variant[height // 3 : height // 2, width // 4 : width // 2] = (250, 40, 40)
    archive = {"variant": pack_print(make_archived_print(variant)), "piece": pack_print(make_archived_print(picture))}
    told = compare_prints(asked_for(on_a_wall(picture)), archive, {}, archive_size=2_000)
    assert told["piece"].probability > told["variant"].probability


def test_what_is_not_archived_is_no_match(archive):
    for seed in (30, 33, 34, 5, 11):
        told = compare_prints(asked_for(on_a_wall(pixels_of(seed))), archive, {"4": 0.99}, archive_size=2_000)
        assert max(each.probability for each in told.values()) < MATCH_AT


@pytest.mark.parametrize("hostile", ["blank", "noise", "tiny", "lattice", "line"])
def test_hostile_questions_are_answered_in_time_and_with_no_match(archive, hostile):
    rng = np.random.default_rng(0)
    picture = {
        "blank": np.full((300, 400, 3), 128, np.uint8),
        "noise": rng.integers(0, 256, (600, 800, 3), np.uint8),
        "tiny": rng.integers(0, 256, (10, 10, 3), np.uint8),
        "lattice": np.kron(np.indices((60, 80)).sum(axis=0) % 2 * 255, np.ones((10, 10)))[..., None]
        .repeat(3, axis=2)
        .astype(np.uint8),
        "line": rng.integers(0, 256, (1, 900, 3), np.uint8),
    }[hostile]
    candidates = {f"{number}-{image_id}": data for number in range(4) for image_id, data in archive.items()}
    asked = asked_for(picture)
    started = time.thread_time()
    told = compare_prints(asked, candidates, {}, archive_size=2_000)
    assert time.thread_time() - started < 2
    assert max(each.probability for each in told.values()) < VERIFIED_AT


def test_what_cannot_be_read_is_left_out(archive):
    told = compare_prints(asked_for(pixels_of(4)), archive | {"rubbish": b"rubbish", "none": b""}, {}, archive_size=10)
    assert set(told) == set(archive)
    assert compare_prints(b"rubbish", archive, {}, archive_size=10) == {}
    assert compare_prints(asked_for(pixels_of(4)), {}, {}, archive_size=0) == {}


def test_two_archived_pictures_are_compared_as_well(archive):
    darker = cv2.GaussianBlur((pixels_of(4) * 0.9).astype(np.uint8), (0, 0), 0.6)
    assert only_match(compare_prints(pack_print(make_archived_print(darker)), archive, {}, archive_size=2_000), "4")


async def test_the_comparer_says_the_same_each_time(archive):
    comparer: PrintComparer = Comparer()
    asked = asked_for(on_a_wall(pixels_of(8)))
    assert await comparer.compare(asked, archive, {"8": 0.9}, among=9) == await comparer.compare(
        asked, archive, {"8": 0.9}, among=9
    )


def test_a_refinement_that_folds_the_picture_is_not_told(archive, monkeypatch):
    beyond = np.array([[1, 0, 0], [0, 1, 0], [-1.5, 0, 1.0]])
    monkeypatch.setattr(overlay, "refine_frame", lambda *_: beyond)
    rising = count(1)
    monkeypatch.setattr(overlay, "compute_agreement", lambda *_: next(rising) / 1_000)  # every refinement seems to be a better one
    soft = cv2.resize(cv2.resize(pixels_of(4), (12, 12), interpolation=cv2.INTER_AREA), (256, 256))  # no points, but a likeness
    told = compare_prints(asked_for(on_a_wall(soft)), archive, {}, archive_size=10)
    assert next(rising) > 2
    assert all(each.evidence.place is None or np.isfinite(each.evidence.place).all() for each in told.values())
