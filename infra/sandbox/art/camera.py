"""A pinhole camera among flat pictures: what screenshots and photographs are drawn with.

The world is right-handed: x to the right along a wall, y up, z out of the wall towards the one who looks.
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
"""The outline of a picture that is nothing but the piece."""

NEAR_PLANE = 0.05
"""What is nearer to the camera than this cannot be told from what is behind it."""

LENS_ITERATIONS = 12
"""Steps after which the way back through a lens is exact."""


@dataclass(frozen=True, slots=True)
class ArtPicture:
    """A picture with a piece of map art in it: where it lies, and the JPEG quality that it is saved with (None: PNG)."""

    image: Image.Image
    place: Quad
    quality: int | None = None


@dataclass(frozen=True)
class Camera:
    """Where it stands, its right, down and ahead (rows of `turned`), the focal length in pixels, and how the lens bends.

    A point at distance r from the middle (in focal lengths) comes from a ray at r * (1 + bend * r * r).
    """

    width: int
    height: int
    focal: float
    place: Array
    turned: Array
    bend: float = 0.0

    @cached_property
    def rays(self) -> Array:
        """The direction of each pixel in the world, (height, width, 3), one unit deep."""
        x = (np.arange(self.width, dtype=np.float32) + 0.5 - self.width / 2) / self.focal
        y = (np.arange(self.height, dtype=np.float32) + 0.5 - self.height / 2) / self.focal
        bent = 1 + self.bend * (x[None, :] ** 2 + y[:, None] ** 2)
        local = np.stack([x[None, :] * bent, y[:, None] * bent, np.ones_like(bent)], -1)
        rays: Array = (local.reshape(-1, 3) @ self.turned).reshape(local.shape).astype(np.float32)
        return rays

    def seen(self, points: Any) -> Array:
        """Where points of the world (n, 3) are in the picture, (n, 2) in pixels."""
        local = (np.asarray(points, np.float64) - self.place) @ self.turned.T
        straight = local[:, :2] / local[:, 2:]
        bent = straight.copy()
        for _ in range(LENS_ITERATIONS):
            bent = straight / (1 + self.bend * (bent**2).sum(1, keepdims=True))
        middle = np.array([self.width / 2, self.height / 2])
        return np.asarray(bent * self.focal + middle, np.float32)

    def outline(self, corners: Any) -> Quad:
        """Where four points of the world are, as fractions of the picture."""
        fractions = self.seen(corners) / (self.width, self.height)
        x0, y0, x1, y1, x2, y2, x3, y3 = (float(each) for each in fractions.ravel())
        return x0, y0, x1, y1, x2, y2, x3, y3


def look_at(place: Any, at: Any, *, size: tuple[int, int], focal: float, roll: float = 0.0, bend: float = 0.0) -> Camera:
    """A camera at a place that looks at a point, turned by `roll` degrees clockwise around its own axis."""
    ahead = np.asarray(at, float) - np.asarray(place, float)
    ahead /= np.linalg.norm(ahead)
    right = np.cross(ahead, (0.0, 1.0, 0.0))
    right /= np.linalg.norm(right)
    down = np.cross(ahead, right)
    cos, sin = np.cos(np.radians(roll)), np.sin(np.radians(roll))
    turned = np.array([cos * right + sin * down, cos * down - sin * right, ahead], np.float32)
    return Camera(*size, focal, np.asarray(place, np.float32), turned, bend)


@dataclass(slots=True)
class CameraView:
    """What a camera sees so far: colours (h, w, 3), and how far away each pixel is."""

    camera: Camera
    pixels: Pixels
    depth: Array

    @classmethod
    def onto(cls, camera: Camera, backdrop: Pixels) -> "CameraView":
        """Nothing yet but what is far behind."""
        return cls(camera, backdrop.copy(), np.full(backdrop.shape[:2], np.inf, np.float32))

    def hang(self, picture: Pixels, corner: Any, right: Any, down: Any, *, smooth: bool = False) -> None:
        """Put up a flat picture whose top left corner is at a point, spanned by two vectors that are at right angles.

        What is nearer stays before it. Without `smooth` the nearest pixel is taken, as games do, however far away it is.
        """
        corner, right, down = (np.asarray(each, np.float32) for each in (corner, right, down))
        normal = np.cross(right, down)
        part = self._within(np.stack([corner, corner + right, corner + right + down, corner + down]))
        rays, start = self.camera.rays[part], self.camera.place - corner
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

    def _within(self, corners: Array) -> tuple[slice, slice]:
        """The part of the picture that a flat thing can be in: all of it where it reaches behind the camera."""
        camera = self.camera
        if camera.bend or ((corners - camera.place) @ camera.turned[2] < NEAR_PLANE).any():
            return slice(None), slice(None)
        seen = camera.seen(corners)
        low, high = np.maximum(np.floor(seen.min(0)) - 1, 0), np.maximum(np.ceil(seen.max(0)) + 2, 0)
        return slice(int(low[1]), int(high[1])), slice(int(low[0]), int(high[0]))
