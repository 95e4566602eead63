"""Screenshots and photographs of map art: stable for a seed, and the piece is at the stated place."""

import numpy as np
import pytest
from PIL import Image

from infra.sandbox.art.camera import ArtPicture, CameraView, look_at
from infra.sandbox.art.generate import draw_piece
from infra.sandbox.art.ingame import take_screenshot
from infra.sandbox.art.phone import take_photo

SIDE = 128


def draw_marked_piece() -> Image.Image:
    """Draw a piece of two maps with a strong colour in each quarter."""
    pixels = np.zeros((SIDE, 2 * SIDE, 3), np.uint8)
    for row, column, colour in ((0, 0, (255, 0, 0)), (0, 1, (0, 255, 0)), (1, 0, (0, 0, 255)), (1, 1, (255, 255, 0))):
        pixels[row * 64 :, column * SIDE :][:64, :SIDE] = colour
    return Image.fromarray(pixels)


def project_point(scene: ArtPicture, right: float, down: float) -> tuple[float, float]:
    """Return where a point of the piece (in fractions) is in the picture, in pixels."""
    corners = np.array(scene.place).reshape(4, 2) * scene.image.size
    square = np.array([(0, 0, 1), (1, 0, 1), (1, 1, 1), (0, 1, 1)], float)
    rows = []
    for (x, y, _), (u, v) in zip(square, corners, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
    h = np.append(np.linalg.solve(np.array(rows), corners.ravel()), 1).reshape(3, 3)
    u, v, w = h @ (right, down, 1)
    return u / w, v / w


@pytest.mark.parametrize("make", [take_screenshot, take_photo])
def test_a_seed_gives_the_same_scene(make) -> None:
    one, other = (make(draw_piece(3), np.random.default_rng(5), 2) for _ in range(2))
    assert one.image.tobytes() == other.image.tobytes()
    assert (one.place, one.quality) == (other.place, other.quality)


@pytest.mark.parametrize("make", [take_screenshot, take_photo])
@pytest.mark.parametrize("severity", [1, 2, 3])
def test_the_piece_is_at_the_stated_place(make, severity: int) -> None:
    strongest = {(0.25, 0.25): {0}, (0.75, 0.25): {1}, (0.25, 0.75): {2}, (0.75, 0.75): {0, 1}}
    right = seen = 0
    for seed in range(2):
        scene = make(draw_marked_piece(), np.random.default_rng([seed, severity]), severity)
        pixels = np.asarray(scene.image, float)
        for place, channels in strongest.items():
            x, y = project_point(scene, *place)
            if 3 < x < scene.image.width - 4 and 3 < y < scene.image.height - 4:
                colour = pixels[int(y) - 3 : int(y) + 4, int(x) - 3 : int(x) + 4].mean((0, 1))
                seen += 1
                right += min(colour[list(channels)]) >= max(colour[list({0, 1, 2} - channels)])
    assert seen >= 5
    assert right >= 0.8 * seen, "chat, the hand or glare may lie over some, not over most"


def test_corners_run_clockwise_from_the_top_left() -> None:
    x0, y0, x1, y1, x2, y2, x3, y3 = take_screenshot(draw_marked_piece(), np.random.default_rng(1), 1).place
    assert x0 < x1
    assert x3 < x2
    assert y0 < y3
    assert y1 < y2


def test_projection_and_rays_agree_with_lens_distortion() -> None:
    camera = look_at((0.3, 0.2, 2.0), (0, 0, 0), size=(200, 150), focal_px=180, roll=7, distortion=0.12)
    spot = (0.31, -0.22, 0.0)
    x, y = camera.project([spot])[0]
    ray = camera.rays[int(y), int(x)]
    hit = camera.position + ray * (-camera.position[2] / ray[2])
    assert np.abs(hit - spot).max() < 0.02


def test_a_nearer_picture_hides_one_drawn_later() -> None:
    camera = look_at((0, 0, 2.0), (0, 0, 0), size=(40, 30), focal_px=30)
    view = CameraView.with_backdrop(camera, np.zeros((30, 40, 3), np.uint8))
    for colour, z in ((200, 0.0), (90, -1.0)):
        view.draw_picture(np.full((4, 4, 3), colour, np.uint8), (-9, 9, z), (18, 0, 0), (0, -18, 0))
    assert (view.pixels == 200).all()
