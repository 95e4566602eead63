"""Regions that may be map art are found in screenshots and photographs, and straightened."""

from io import BytesIO

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from contracts.errors import Reject
from infra.sandbox.art.generate import draw_piece
from infra.vision.distortions import encode_png
from infra.vision.fingerprint import make_archived_print, make_query_print
from infra.vision.prints import MAX_PICTURE_PX, pack_print
from infra.vision.rectify import EMBEDDED_SIDE_PX, decode_picture, extract_views, rectify_region, to_pixel_corners
from infra.vision.regions import MAX_REGIONS, find_regions

Picture = NDArray[np.uint8]
WIDTH, HEIGHT = 960, 540
SEEN = np.array([[330, 120], [640, 160], [650, 430], [320, 450]], np.float32)


def draw_on_wall(seed: int, corners: NDArray[np.float32] = SEEN) -> Picture:
    """Draw a piece on a wall of bricks, seen at an angle."""
    wall = np.random.default_rng(seed).normal(120, 12, (HEIGHT // 4, WIDTH // 4, 1)).repeat(4, 0).repeat(4, 1).repeat(3, 2)
    wall[::36] *= 0.7
    wall[:, ::48] *= 0.7
    art = np.array(draw_piece(seed))
    height, width = art.shape[:2]
    box = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32) - np.float32(0.5)
    onto = cv2.getPerspectiveTransform(box, corners)
    seen = cv2.warpPerspective(art, onto, (WIDTH, HEIGHT))
    covered = cv2.warpPerspective(np.ones((height, width), np.uint8), onto, (WIDTH, HEIGHT))
    return np.where(covered[..., None] > 0, seen, np.clip(wall, 0, 255)).astype(np.uint8)


def overlap(region: tuple[float, ...], corners: NDArray[np.float32]) -> float:
    found = to_pixel_corners(region, WIDTH, HEIGHT)
    shared, _ = cv2.intersectConvexConvex(found, corners)
    return float(shared / (cv2.contourArea(found) + cv2.contourArea(corners) - shared))


@pytest.mark.parametrize("seed", range(13))
def test_a_map_on_a_wall_is_found(seed: int) -> None:
    regions = find_regions(draw_on_wall(seed))
    assert 0 < len(regions) <= MAX_REGIONS
    assert max(overlap(region, SEEN) for region in regions) > 0.8


def test_a_picture_with_a_border_is_found_first() -> None:
    screen = np.full((HEIGHT, WIDTH, 3), (49, 51, 56), np.uint8)
    screen[100:400, 300:600] = cv2.resize(np.array(draw_piece(1))[:128, :128], (300, 300))
    box = np.array([[300, 100], [600, 100], [600, 400], [300, 400]], np.float32)
    assert overlap(find_regions(screen)[0], box) > 0.9


def test_several_maps_are_found() -> None:
    lefts = (np.array([[100, 150], [330, 150], [330, 380], [100, 380]]), np.array([[560, 150], [790, 150], [790, 380], [560, 380]]))
    first, second = (draw_on_wall(seed, corners.astype(np.float32)) for seed, corners in zip((1, 2), lefts, strict=True))
    regions = find_regions(np.concatenate([first[:, : WIDTH // 2], second[:, WIDTH // 2 :]], axis=1))
    for corners in lefts:
        assert max(overlap(region, corners.astype(np.float32)) for region in regions) > 0.8


@pytest.mark.parametrize("shape", [(1, 1), (10, 10), (1, 5000), (5000, 1), (40, 3000), (600, 800)])
def test_blank_and_crooked_pictures_have_no_regions(shape: tuple[int, int]) -> None:
    assert find_regions(np.full((*shape, 3), 90, np.uint8)) == []


def test_noise_has_few_regions() -> None:
    noise = np.random.default_rng(1).integers(0, 256, (700, 900, 3), dtype=np.uint8)
    assert len(find_regions(noise)) <= MAX_REGIONS


def test_a_region_is_straightened() -> None:
    region = ((SEEN + 0.5) / (WIDTH, HEIGHT)).reshape(-1).tolist()
    art = cv2.resize(np.array(draw_piece(3)), (128, 128), interpolation=cv2.INTER_AREA)
    straight = rectify_region(draw_on_wall(3), region, 128)
    assert straight.shape == (128, 128, 3)
    assert np.corrcoef(straight.reshape(-1), art.reshape(-1))[0, 1] > 0.9


def test_views_are_the_picture_and_its_regions() -> None:
    made = make_query_print(draw_on_wall(3))
    files = extract_views(pack_print(made), [(0, 0, 1, 0, 1, 1, 0, 1), (-0.2, -0.2, 0.5, 0, 0.5, 0.5, 0, 0.5)])
    assert [Image.open(BytesIO(file)).size for file in files] == [
        (MAX_PICTURE_PX, MAX_PICTURE_PX * HEIGHT // WIDTH),
        (EMBEDDED_SIDE_PX, EMBEDDED_SIDE_PX),
        (EMBEDDED_SIDE_PX, EMBEDDED_SIDE_PX),
    ]
    assert np.array_equal(np.asarray(Image.open(BytesIO(files[0]))), made.picture)
    assert extract_views(pack_print(made), []) == files[:1]


def test_a_print_without_a_picture_has_no_views() -> None:
    for fingerprint in (b"rubbish", pack_print(make_archived_print(draw_on_wall(3)))):
        with pytest.raises(Reject, match="cannot be read"):
            extract_views(fingerprint, [])


@pytest.mark.parametrize("rubbish", [b"", b"no picture", b"\x89PNG\r\n\x1a\n"])
def test_bytes_that_are_not_a_picture_are_rejected(rubbish: bytes) -> None:
    with pytest.raises(Reject, match="decoded"):
        decode_picture(rubbish)


def test_colours_come_in_the_right_order() -> None:
    assert decode_picture(encode_png(Image.new("RGB", (3, 2), (250, 100, 5)))).tolist() == [[[250, 100, 5]] * 3] * 2
