"""Random effects of light and camera on a view: brightness, gamma, colour casts, shade, glare, stripes, blur, noise and JPEG."""

import cv2
import numpy as np

from infra.sandbox.art.canvas import Rng
from infra.sandbox.training.pool import Pixels

GREY_LEVELS = np.linspace(0, 1, 256, dtype=np.float32)[:, None]


def relight(view: Pixels, rng: Rng) -> Pixels:
    """Change gamma, brightness, contrast, saturation and colour cast, and add uneven light."""
    if rng.random() < 0.85:
        gamma, gain = np.exp(rng.normal(0, 0.3)), np.exp(rng.normal(-0.1, 0.3))
        cast, lift = np.exp(rng.normal(0, rng.uniform(0, 0.18), 3)), rng.uniform(0, 0.15) if rng.random() < 0.4 else 0.0
        table = lift + (1 - lift) * gain * cast * GREY_LEVELS**gamma
        view = np.asarray(cv2.LUT(view, (table.clip(0, 1) * 255).astype(np.uint8)[None]), np.uint8)
    if rng.random() < 0.3:
        grey, share = view.mean(2, keepdims=True), rng.uniform(0.4, 1.4)
        view = (grey + (view - grey) * share).clip(0, 255).astype(np.uint8)
    if rng.random() < 0.4:
        view = _shade(view, rng)
    return view


def capture(view: Pixels, rng: Rng) -> Pixels:
    """Add stripes, blur, noise and compression. `view` has the resolution of the capture."""
    if rng.random() < 0.2:
        view = _add_stripes(view, rng)
    if rng.random() < 0.5:
        view = np.asarray(cv2.GaussianBlur(view, (0, 0), rng.uniform(0.3, len(view) / 60)), np.uint8)
    if rng.random() < 0.15:
        view = _blur_motion(view, rng)
    if rng.random() < 0.5:
        noise = rng.normal(0, rng.uniform(1, 16), view.shape).astype(np.float32)
        view = (view + noise).clip(0, 255).astype(np.uint8)
    if rng.random() < 0.6:
        view = compress_jpeg(view, int(rng.integers(15, 96)))
    return view


def compress_jpeg(view: Pixels, quality: int) -> Pixels:
    """Compress a view as JPEG of a quality, and decode it."""
    _, file = cv2.imencode(".jpg", view, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(file, cv2.IMREAD_COLOR), np.uint8)


def _shade(view: Pixels, rng: Rng) -> Pixels:
    """Add shade on one side, or the reflection of a lamp."""
    side = len(view)
    if rng.random() < 0.6:
        coarse = np.exp(rng.normal(0, 0.35, (2, 2))).astype(np.float32)
        shade = np.asarray(cv2.resize(coarse, (side, side)), np.float32)
        return (view * shade[..., None]).clip(0, 255).astype(np.uint8)
    y, x = np.ogrid[:side, :side]
    at, wide = rng.uniform(0, side, 2), rng.uniform(0.05, 0.3, 2) * side
    spot = np.exp(-(((y - at[0]) / wide[0]) ** 2) - ((x - at[1]) / wide[1]) ** 2) * rng.uniform(60, 255)
    return np.asarray((view + spot[..., None]).clip(0, 255), np.uint8)


def _add_stripes(view: Pixels, rng: Rng) -> Pixels:
    """Add the stripes that a screen's lines cause on a camera sensor."""
    side = len(view)
    y, x = np.mgrid[:side, :side].astype(np.float32) / side
    angle, waves = rng.uniform(0, np.pi), rng.uniform(4, 50)
    bend = rng.uniform(0, 3) * (x - 0.5) ** 2
    phase = 2 * np.pi * waves * (x * np.cos(angle) + y * np.sin(angle) + bend)
    wave = np.asarray(np.sin(phase[..., None] + rng.uniform(0, 2, 3)) * rng.uniform(0.03, 0.25), np.float64)
    return (view * (1 + wave)).clip(0, 255).astype(np.uint8)


def _blur_motion(view: Pixels, rng: Rng) -> Pixels:
    length = max(2, round(len(view) * rng.uniform(0.02, 0.07)))
    kernel = np.zeros((length, length), np.float32)
    cv2.line(kernel, (0, int(rng.integers(length))), (length - 1, int(rng.integers(length))), 1.0)
    if rng.random() < 0.5:
        kernel = kernel.T
    return np.asarray(cv2.filter2D(view, -1, kernel / kernel.sum()), np.uint8)
