"""The pose of a feature, and that of its mirror image."""

import numpy as np
import pytest

from infra.vision.features import encode_poses, mirror_poses


def pose(angle: float, size: float) -> tuple[int, int]:
    made = int(encode_poses(np.array([[0, 0, size, angle]], np.float32))[0])
    return made >> 8, made & 255


@pytest.mark.parametrize("angle", [0, 359.9, 360, -0.1])
def test_the_circle_is_closed(angle: float) -> None:
    assert pose(angle, 4)[0] == 0


def test_steps_of_angle_and_size() -> None:
    assert pose(90, 4) == (64, 64)
    assert pose(180, 8) == (128, 80)


@pytest.mark.parametrize(("size", "said"), [(0, 0), (0.1, 0), (0.25, 0), (1e9, 255)])
def test_sizes_out_of_bounds_are_the_nearest(size: float, said: int) -> None:
    assert pose(0, size)[1] == said


def test_a_mirror_changes_left_and_right() -> None:
    poses = encode_poses(np.array([[0, 0, 4, angle] for angle in (0, 90, 200)], np.float32))
    expected = encode_poses(np.array([[0, 0, 4, angle] for angle in (180, 90, -20)], np.float32))
    assert mirror_poses(poses).tolist() == expected.tolist()
    assert mirror_poses(mirror_poses(poses)).tolist() == poses.tolist()
