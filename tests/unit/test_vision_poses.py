"""The poses of features and of their mirror images."""

import numpy as np
import pytest

from infra.vision.features import encode_poses, mirror_poses


def encode_pose(angle: float, size: float) -> tuple[int, int]:
    pose = int(encode_poses(np.array([[0, 0, size, angle]], np.float32))[0])
    return pose >> 8, pose & 255


@pytest.mark.parametrize("angle", [0, 359.9, 360, -0.1])
def test_angles_near_0_and_360_degrees_have_the_same_step(angle: float) -> None:
    assert encode_pose(angle, 4)[0] == 0


def test_steps_of_angle_and_size() -> None:
    assert encode_pose(90, 4) == (64, 64)
    assert encode_pose(180, 8) == (128, 80)


@pytest.mark.parametrize(("size", "expected"), [(0, 0), (0.1, 0), (0.25, 0), (1e9, 255)])
def test_sizes_out_of_bounds_are_clipped(size: float, expected: int) -> None:
    assert encode_pose(0, size)[1] == expected


def test_a_mirror_swaps_left_and_right() -> None:
    poses = encode_poses(np.array([[0, 0, 4, angle] for angle in (0, 90, 200)], np.float32))
    expected = encode_poses(np.array([[0, 0, 4, angle] for angle in (180, 90, -20)], np.float32))
    assert mirror_poses(poses).tolist() == expected.tolist()
    assert mirror_poses(mirror_poses(poses)).tolist() == poses.tolist()
