"""Comparing a query with archived pictures: the piece that it shows gets the highest probability, with the right evidence."""

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


def draw_pixels(seed):
    return np.asarray(draw_piece(seed))


def pack_query(picture):
    return pack_print(make_query_print(np.ascontiguousarray(picture)))


@pytest.fixture(scope="module")
def archive():
    return {str(seed): pack_print(make_archived_print(draw_pixels(seed))) for seed in SEEDS}


def draw_on_wall(picture, corners=((0.2, 0.1), (0.8, 0.2), (0.75, 0.9), (0.22, 0.8)), size=(800, 600)):
    height, width = picture.shape[:2]
    source = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    matrix = cv2.getPerspectiveTransform(source - 0.5, (np.array(corners) * size).astype(np.float32) - 0.5)
    wall = np.full((size[1], size[0], 3), 90, np.uint8)
    return cv2.warpPerspective(picture, matrix, size, wall, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_TRANSPARENT)


def is_only_match(found, image_id):
    return found[image_id].probability >= MATCH_AT and all(
        other.probability < VERIFIED_AT for one, other in found.items() if one != image_id
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_the_same_file_is_found_by_its_hash(archive, seed):
    found = compare_prints(pack_query(draw_pixels(seed)), archive, {}, archive_size=2_000)
    evidence = found[str(seed)].evidence

    assert is_only_match(found, str(seed))
    assert evidence.by == "hash"
    assert (evidence.turn, evidence.mirrored, evidence.angle, evidence.panel) == (0, False, False, None)
    assert evidence.shown > 0.95
    assert evidence.place == pytest.approx((0, 0, 1, 0, 1, 1, 0, 1), abs=0.03)


@pytest.mark.parametrize("seed", [4, 7, 8])
def test_a_picture_on_a_wall_is_found_by_its_keypoints_with_its_place(archive, seed):
    found = compare_prints(pack_query(draw_on_wall(draw_pixels(seed))), archive, {}, archive_size=2_000)
    evidence = found[str(seed)].evidence

    assert is_only_match(found, str(seed))
    assert evidence.by == "points"
    assert evidence.points >= 12
    assert evidence.angle
    assert evidence.place == pytest.approx((0.2, 0.1, 0.8, 0.2, 0.75, 0.9, 0.22, 0.8), abs=0.02)


TURNS = [(1, False), (2, False), (3, True), (0, True)]
TWINS = (7, 1, False)
"""Turned like this, the crescent and the windows of one piece are where another piece has the same."""


@pytest.mark.parametrize(
    ("seed", "quarters", "mirrored"), [(seed, *turn) for seed in (4, 7, 8) for turn in TURNS if (seed, *turn) != TWINS]
)
def test_turned_and_mirrored_pictures_are_found_with_their_turn(archive, seed, quarters, mirrored):
    found = compare_prints(pack_query(turn_piece(seed, quarters, mirrored)), archive, {}, archive_size=2_000)

    assert is_only_match(found, str(seed))
    assert (found[str(seed)].evidence.turn, found[str(seed)].evidence.mirrored) == (90 * quarters, mirrored)


def test_another_piece_with_the_same_motif_is_not_a_match(archive):
    seed, quarters, mirrored = TWINS
    found = compare_prints(pack_query(turn_piece(seed, quarters, mirrored)), archive, {}, archive_size=2_000)

    assert [image_id for image_id, each in found.items() if each.probability >= MATCH_AT] == [str(seed)]
    assert (found[str(seed)].evidence.turn, found[str(seed)].evidence.mirrored) == (90 * quarters, mirrored)


def turn_piece(seed, quarters, mirrored):
    picture = draw_pixels(seed)
    return np.rot90(picture[:, ::-1] if mirrored else picture, -quarters)


def test_one_map_of_a_larger_piece_is_found_as_a_panel():
    large = next(np.asarray(made) for made in (draw_piece(seed) for seed in range(7, 400, 13)) if made.size == (384, 256))
    found = compare_prints(pack_query(large[128:, 128:256]), {"1": pack_print(make_archived_print(large))}, {}, archive_size=2_000)

    assert found["1"].probability > VERIFIED_AT
    assert found["1"].evidence.panel == Panel(row=2, column=2, rows=2, columns=3)


def test_a_variant_ranks_below_the_piece_itself():
    picture = draw_pixels(4)
    variant = picture.copy()
    height, width = variant.shape[:2]
    variant[height // 3 : height // 2, width // 4 : width // 2] = (250, 40, 40)
    archive = {"variant": pack_print(make_archived_print(variant)), "piece": pack_print(make_archived_print(picture))}
    found = compare_prints(pack_query(draw_on_wall(picture)), archive, {}, archive_size=2_000)
    assert found["piece"].probability > found["variant"].probability


def test_a_piece_that_is_not_archived_is_not_a_match(archive):
    for seed in (30, 33, 34, 5, 11):
        found = compare_prints(pack_query(draw_on_wall(draw_pixels(seed))), archive, {"4": 0.99}, archive_size=2_000)
        assert max(each.probability for each in found.values()) < MATCH_AT


@pytest.mark.parametrize("hostile", ["blank", "noise", "tiny", "lattice", "line"])
def test_hostile_queries_are_compared_in_time_without_a_match(archive, hostile):
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
    query = pack_query(picture)
    started = time.thread_time()
    found = compare_prints(query, candidates, {}, archive_size=2_000)
    assert time.thread_time() - started < 2
    assert max(each.probability for each in found.values()) < VERIFIED_AT


def test_unreadable_prints_are_left_out(archive):
    found = compare_prints(pack_query(draw_pixels(4)), archive | {"rubbish": b"rubbish", "none": b""}, {}, archive_size=10)
    assert set(found) == set(archive)
    assert compare_prints(b"rubbish", archive, {}, archive_size=10) == {}
    assert compare_prints(pack_query(draw_pixels(4)), {}, {}, archive_size=0) == {}


def test_two_archived_pictures_can_be_compared(archive):
    darker = cv2.GaussianBlur((draw_pixels(4) * 0.9).astype(np.uint8), (0, 0), 0.6)
    assert is_only_match(compare_prints(pack_print(make_archived_print(darker)), archive, {}, archive_size=2_000), "4")


async def test_the_comparer_gives_the_same_result_each_time(archive):
    comparer: PrintComparer = Comparer()
    query = pack_query(draw_on_wall(draw_pixels(8)))
    assert await comparer.compare(query, archive, {"8": 0.9}, among=9) == await comparer.compare(
        query, archive, {"8": 0.9}, among=9
    )


def test_a_refined_frame_that_folds_the_picture_is_not_used(archive, monkeypatch):
    beyond = np.array([[1, 0, 0], [0, 1, 0], [-1.5, 0, 1.0]])
    monkeypatch.setattr(overlay, "refine_frame", lambda *_: beyond)
    rising = count(1)
    monkeypatch.setattr(overlay, "compute_agreement", lambda *_: next(rising) / 1_000)  # every refined frame seems to agree better
    soft = cv2.resize(
        cv2.resize(draw_pixels(4), (12, 12), interpolation=cv2.INTER_AREA), (256, 256)
    )  # no keypoints, but similar colours
    found = compare_prints(pack_query(draw_on_wall(soft)), archive, {}, archive_size=10)
    assert next(rising) > 2
    assert all(each.evidence.place is None or np.isfinite(each.evidence.place).all() for each in found.values())
