"""A pinhole camera that renders flat pictures in space. Screenshots and photographs are drawn with it.

The coordinates are right-handed: x to the right along a wall, y up, z out of the wall towards the viewer.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from contracts.events import Quad
from infra.sandbox.art.canvas import Array

Pixels = NDArray[np.uint8]
WHOLE_PICTURE: Quad = (0.0, 0.0, 1.0, 0.0, 1.0, 1.0, 0.0, 1.0)
"""The outline of a piece that fills its whole picture."""

NEAR_PLANE = 0.05
"""Points nearer to the camera than this are treated like points behind it."""

LENS_ITERATIONS = 12
"""Iterations after which the inversion of the lens distortion is exact."""


@dataclass(frozen=True, slots=True)
class ArtPicture:
    """A picture with a piece of map art.

    `place` is the outline of the piece as fractions of the picture. `quality` is the JPEG quality to save it with (None: PNG).
    """

    image: Image.Image
    place: Quad
    quality: int | None = None


@dataclass(frozen=True)
class Camera:
    """A camera. The rows of `rotation` are its directions right, down and ahead; `focal_px` is the focal length in pixels.

    A point at distance r from the middle (in focal lengths) comes from a ray at r * (1 + distortion * r * r).
    """

    width: int
    height: int
    focal_px: float
    position: Array
    rotation: Array
    distortion: float = 0.0

    @cached_property
    def rays(self) -> Array:
        """The direction of each pixel in world coordinates, (height, width, 3). Along the view axis each is 1 long."""
        x = (np.arange(self.width, dtype=np.float32) + 0.5 - self.width / 2) / self.focal_px
        y = (np.arange(self.height, dtype=np.float32) + 0.5 - self.height / 2) / self.focal_px
        bent = 1 + self.distortion * (x[None, :] ** 2 + y[:, None] ** 2)
        local = np.stack([x[None, :] * bent, y[:, None] * bent, np.ones_like(bent)], -1)
        rays: Array = (local.reshape(-1, 3) @ self.rotation).reshape(local.shape).astype(np.float32)
        return rays

    def project(self, points: Any) -> Array:
        """Project points of the world (n, 3) into the picture, (n, 2) in pixels."""
        local = (np.asarray(points, np.float64) - self.position) @ self.rotation.T
        straight = local[:, :2] / local[:, 2:]
        bent = straight.copy()
        for _ in range(LENS_ITERATIONS):
            bent = straight / (1 + self.distortion * (bent**2).sum(1, keepdims=True))
        middle = np.array([self.width / 2, self.height / 2])
        return np.asarray(bent * self.focal_px + middle, np.float32)

    def project_quad(self, corners: Any) -> Quad:
        """Project four points of the world. The result is in fractions of the picture."""
        fractions = self.project(corners) / (self.width, self.height)
        x0, y0, x1, y1, x2, y2, x3, y3 = (float(each) for each in fractions.ravel())
        return x0, y0, x1, y1, x2, y2, x3, y3


def look_at(place: Any, at: Any, *, size: tuple[int, int], focal_px: float, roll: float = 0.0, distortion: float = 0.0) -> Camera:
    """Build a camera at `place` that looks at `at`. `roll` turns it clockwise around its own axis, in degrees."""
    ahead = np.asarray(at, float) - np.asarray(place, float)
    ahead /= np.linalg.norm(ahead)
    right = np.cross(ahead, (0.0, 1.0, 0.0))
    right /= np.linalg.norm(right)
    down = np.cross(ahead, right)
    cos, sin = np.cos(np.radians(roll)), np.sin(np.radians(roll))
    rotation = np.array([cos * right + sin * down, cos * down - sin * right, ahead], np.float32)
    return Camera(*size, focal_px, np.asarray(place, np.float32), rotation, distortion)


@dataclass(slots=True)
class CameraView:
    """The picture that a camera has drawn so far: colours (h, w, 3), and the depth of each pixel."""

    camera: Camera
    pixels: Pixels
    depth: Array

    @classmethod
    def with_backdrop(cls, camera: Camera, backdrop: Pixels) -> "CameraView":
        """Create a view that shows only an infinitely distant backdrop."""
        return cls(camera, backdrop.copy(), np.full(backdrop.shape[:2], np.inf, np.float32))

    def draw_picture(self, picture: Pixels, corner: Any, right: Any, down: Any, *, smooth: bool = False) -> None:
        """Draw a flat picture in space. `corner` is its top left corner; the vectors `right` and `down`, at right angles, span it.

        Nearer pixels that are already drawn hide it. Without `smooth` the nearest pixel is taken at any distance, as games do.
        """
        corner, right, down = (np.asarray(each, np.float32) for each in (corner, right, down))
        normal = np.cross(right, down)
        part = self._covered_part(np.stack([corner, corner + right, corner + right + down, corner + down]))
        rays, start = self.camera.rays[part], self.camera.position - corner
        with np.errstate(divide="ignore", invalid="ignore"):
            distance = np.float32(-start @ normal) / (rays @ normal)
            x = (start @ right + distance * (rays @ right)) / (right @ right)
            y = (start @ down + distance * (rays @ down)) / (down @ down)
            hit = (distance > 0) & (distance < self.depth[part]) & (x >= 0) & (x < 1) & (y >= 0) & (y < 1)
        if not hit.any():
            return
        height, width = picture.shape[:2]
        x, y = (np.nan_to_num(each * side - 0.5).astype(np.float32) for each, side in ((x, width), (y, height)))
        method = cv2.INTER_LINEAR if smooth else cv2.INTER_NEAREST
        seen = cv2.remap(picture, x, y, method, borderMode=cv2.BORDER_REPLICATE)
        self.pixels[part][hit] = seen[hit]
        self.depth[part][hit] = distance[hit]

    def _covered_part(self, corners: Array) -> tuple[slice, slice]:
        """Return the part of the view that a flat picture can cover: all of it if the picture reaches behind the camera."""
        camera = self.camera
        if camera.distortion or ((corners - camera.position) @ camera.rotation[2] < NEAR_PLANE).any():
            return slice(None), slice(None)
        seen = camera.project(corners)
        low, high = np.maximum(np.floor(seen.min(0)) - 1, 0), np.maximum(np.ceil(seen.max(0)) + 2, 0)
        return slice(int(low[1]), int(high[1])), slice(int(low[0]), int(high[0]))
