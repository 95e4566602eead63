"""Photographs of a monitor that shows map art, taken with a phone.

The stripes of the screen's pixels and the grid of the sensor cause the coloured waves (moire) of such photographs. After that come
lens, glare, exposure and colours of the camera, noise, the colour filter mosaic, sharpening and strong compression.
"""

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from infra.sandbox.art.camera import ArtPicture, Camera, CameraView, Pixels, look_at
from infra.sandbox.art.canvas import Array, Rng, fractal_noise
from infra.sandbox.art.hud import make_chat_line
from infra.sandbox.art.ingame import take_screenshot

SENSOR_SIZES_PX = ((1600, 1200), (1280, 960), (1200, 1600), (1440, 1080), (1600, 1200), (960, 1280))
PHOTO_YAW_DEG, PHOTO_PITCH_DEG, PHOTO_ROLL_DEG = (9, 20, 32), (6, 14, 22), (3, 7, 14)
PHOTO_QUALITIES = ((65, 81), (50, 71), (40, 56))
MONITOR_SIZES_PX = ((1920, 1080), (1920, 1080), (2560, 1440), (1366, 768), (1920, 1200))
MONITOR_WIDTH_M = 0.6
"""The width of a monitor in metres."""
DESK_HEIGHT = -1.5
"""The height of the table above the middle of the monitor, in half heights of the monitor."""
WINDOW_COLOURS = ((54, 57, 63), (49, 51, 56), (32, 34, 37), (255, 255, 255), (245, 245, 245), (24, 24, 24), (30, 30, 46))


def take_photo(piece: Image.Image, rng: Rng, severity: int) -> ArtPicture:
    """Draw a photograph of a monitor that shows the piece, in the game or in a window. `severity` is 1 to 3."""
    shown = take_screenshot(piece, rng, 1) if rng.random() < 0.4 else _draw_window(piece, rng)
    screen = _fit_to_monitor(shown, rng)
    camera, corners = _place_camera(rng, severity, screen)
    place = camera.project_quad(corners)
    pixels = _expose(camera, np.asarray(screen.image), rng, severity)
    low, high = PHOTO_QUALITIES[severity - 1]
    return ArtPicture(Image.fromarray(pixels), place, int(rng.integers(low, high)))


def _draw_window(piece: Image.Image, rng: Rng) -> ArtPicture:
    """Draw the window of a chat or a viewer with the piece in it."""
    width, height = MONITOR_SIZES_PX[int(rng.integers(len(MONITOR_SIZES_PX)))]
    ground = WINDOW_COLOURS[int(rng.integers(len(WINDOW_COLOURS)))]
    ink = (30, 30, 30) if sum(ground) > 380 else (220, 221, 222)
    screen = Image.new("RGB", (width, height), ground)
    draw = ImageDraw.Draw(screen)
    side = int(width * rng.uniform(0, 0.24))
    draw.rectangle((0, 0, side, height), fill=tuple(int(each * 0.85) for each in ground))
    draw.rectangle((0, 0, width, height // 24), fill=tuple(int(each * 0.7) for each in ground))
    font = ImageFont.load_default(height // 54)
    for start, end, step in ((12, side, 30), (side + 20, width, 40)):
        for line in range(height // 16, height - 40, height // step):
            if rng.random() < 0.55 and end - start > 60:
                draw.text((start, line), make_chat_line(rng)[: int((end - start) / (height / 100))], fill=ink, font=font)
    filled = rng.uniform(0.4, 0.88)
    factor = min((width - side) * filled / piece.width, height * filled / piece.height)
    if rng.random() < 0.4 and factor > 1:
        factor = float(int(factor))
    size = round(piece.width * factor), round(piece.height * factor)
    big = piece.resize(size, Image.Resampling.NEAREST if rng.random() < 0.4 else Image.Resampling.BILINEAR)
    x = side + int(rng.uniform(0.1, 0.9) * max(1, width - side - size[0]))
    y = height // 24 + int(rng.uniform(0, 1) * max(1, height - height // 24 - size[1]))
    screen.paste(big, (x, y))
    left, top, right, bottom = x / width, y / height, (x + size[0]) / width, (y + size[1]) / height
    return ArtPicture(screen, (left, top, right, top, right, bottom, left, bottom))


def _fit_to_monitor(shown: ArtPicture, rng: Rng) -> ArtPicture:
    """Fit a picture to the size of a monitor. A cropped screenshot gets black borders."""
    width, height = MONITOR_SIZES_PX[int(rng.integers(len(MONITOR_SIZES_PX)))]
    factor = min(width / shown.image.width, height / shown.image.height)
    size = round(shown.image.width * factor), round(shown.image.height * factor)
    left, top = (width - size[0]) // 2, (height - size[1]) // 2
    screen = Image.new("RGB", (width, height), (8, 8, 8))
    screen.paste(shown.image.resize(size, Image.Resampling.BILINEAR), (left, top))
    place = (np.array(shown.place).reshape(4, 2) * size + (left, top)) / (width, height)
    x0, y0, x1, y1, x2, y2, x3, y3 = (float(each) for each in place.ravel())
    return ArtPicture(screen, (x0, y0, x1, y1, x2, y2, x3, y3))


def _place_camera(rng: Rng, severity: int, screen: ArtPicture) -> tuple[Camera, Array]:
    """Place a phone in front of the monitor.

    Return it with the corners of the piece, (4, 3); the middle of the monitor is the origin.
    """
    width, height = SENSOR_SIZES_PX[int(rng.integers(len(SENSOR_SIZES_PX)))]
    focal_px = max(width, height) * rng.uniform(0.72, 0.85)
    high = MONITOR_WIDTH_M * screen.image.height / screen.image.width
    fractions = np.array(screen.place).reshape(4, 2)
    corners = np.zeros((4, 3), np.float32)
    corners[:, :2] = (fractions - 0.5) * (MONITOR_WIDTH_M, -high)
    near = rng.random() < 0.45  # the piece fills the photograph, not the monitor
    spread = np.ptp(corners[:, :2], axis=0) if near else np.array([MONITOR_WIDTH_M, high])
    middle = corners.mean(0) if near else np.zeros(3)
    filled = rng.uniform(*((0.7, 1.0), (0.6, 1.0), (0.45, 0.9))[severity - 1])
    distance = max(spread[0] * focal_px / width, spread[1] * focal_px / height) / filled
    yaw, lift = np.radians(rng.uniform(-1, 1, 2) * (PHOTO_YAW_DEG[severity - 1], PHOTO_PITCH_DEG[severity - 1]))
    away = middle + np.array([np.sin(yaw) * np.cos(lift), np.sin(lift), np.cos(yaw) * np.cos(lift)]) * distance
    away[1] = max(away[1], DESK_HEIGHT * high / 2 + 0.05)
    at = middle + np.array([*(rng.uniform(-0.06, 0.06, 2) * distance), 0])
    distortion = rng.uniform(-0.05, 0.05) * severity
    roll = rng.uniform(-1, 1) * PHOTO_ROLL_DEG[severity - 1]
    return look_at(
        away, at, size=(width, height), focal_px=float(focal_px), roll=float(roll), distortion=float(distortion)
    ), corners


def _draw_room(rng: Rng) -> Pixels:
    """Draw a plain background with a few objects, out of focus."""
    colour = rng.uniform(30, 190) * rng.uniform(0.85, 1.1, 3)
    room = np.clip(colour * (0.6 + 0.6 * fractal_noise(rng, 240, 160, cells=2, octaves=3))[..., None], 0, 255).astype(np.uint8)
    for _ in range(int(rng.integers(0, 7))):
        x, y, wide, tall = rng.integers(0, 240), rng.integers(0, 160), rng.integers(6, 60), rng.integers(6, 60)
        room[y : y + tall, x : x + wide] = rng.integers(10, 220, 3)
    return np.asarray(cv2.GaussianBlur(room, (0, 0), rng.uniform(1, 3)), np.uint8)


def _expose(camera: Camera, screen: Pixels, rng: Rng, severity: int) -> Pixels:
    """Compute the pixels of the file from the light of the screen and the room."""
    high = MONITOR_WIDTH_M * screen.shape[0] / screen.shape[1]
    view = CameraView.with_backdrop(camera, np.zeros((camera.height, camera.width, 3), np.uint8))
    view.draw_picture(_draw_room(rng), (-2, 1.2, -0.5), (4, 0, 0), (0, -2.6, 0), smooth=True)
    view.draw_picture(_draw_room(rng), (-2, DESK_HEIGHT * high / 2, -0.5), (4, 0, 0), (0, 0, 2), smooth=True)
    bezel = rng.uniform(0.008, 0.025)
    frame = np.full((8, 8, 3), rng.integers(8, 60), np.uint8)
    view.draw_picture(
        frame,
        (-MONITOR_WIDTH_M / 2 - bezel, high / 2 + bezel, -0.002),
        (MONITOR_WIDTH_M + 2 * bezel, 0, 0),
        (0, -high - 2.5 * bezel, 0),
    )
    around = (view.pixels.astype(np.float32) / 255) ** 2.2 * rng.uniform(0.1, 0.8)
    view.draw_picture(screen, (-MONITOR_WIDTH_M / 2, high / 2, 0), (MONITOR_WIDTH_M, 0, 0), (0, -high, 0), smooth=True)
    lit = np.isclose(view.depth, _depth_of_plane(camera, 0.0), rtol=1e-4)[..., None]
    light = np.where(lit, (view.pixels.astype(np.float32) / 255) ** 2.2 * _draw_subpixels(camera, screen, rng, severity), around)
    return _develop(light.astype(np.float32), rng, severity)


def _depth_of_plane(camera: Camera, z: float) -> Array:
    with np.errstate(divide="ignore"):
        return np.asarray((z - camera.position[2]) / camera.rays[..., 2], np.float32)


def _draw_subpixels(camera: Camera, screen: Pixels, rng: Rng, severity: int) -> Array:
    """Return how the red, green and blue stripes of the screen's pixels change the light at each sensor pixel: around 1, (h, w, 3).

    Only the first harmonic of the stripes is strong enough to be visible. The lens and the size of a sensor pixel weaken it. A
    pattern that is finer than the grid of the sensor appears as coarser waves (aliasing).
    """
    rows, columns = screen.shape[:2]
    distance = _depth_of_plane(camera, 0.0)
    across = (camera.position[0] + distance * camera.rays[..., 0]) / MONITOR_WIDTH_M * columns
    along = (camera.position[1] + distance * camera.rays[..., 1]) / (MONITOR_WIDTH_M * rows / columns) * rows
    pitch = np.abs(np.gradient(across, axis=1)) + np.abs(np.gradient(across, axis=0)) + 1e-6
    kept = np.exp(-((pitch * rng.uniform(0.6, 1.2)) ** 2)) * rng.uniform(0.3, 1.0) * (0.25 + 0.25 * severity)
    light = [1 + kept * np.cos(2 * np.pi * (across - (colour + 0.5) / 3)) for colour in range(3)]
    gaps = 1 + 0.35 * kept * np.cos(2 * np.pi * along)
    return np.asarray(np.stack(light, -1) * gaps[..., None], np.float32)


def _develop(light: Array, rng: Rng, severity: int) -> Pixels:
    """Turn linear light, (h, w, 3), into the pixels of a phone's photograph."""
    height, width = light.shape[:2]
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    for _ in range(int(rng.integers(0, severity + 1))):
        light += (_draw_glare(rng, x, y) * np.float32(rng.uniform(0.04, 0.13) * severity))[..., None]
    light += np.float32(rng.uniform(0.002, 0.012) * severity)  # light of the room on the glass
    far = (x / width - 0.5) ** 2 + (y / height - 0.5) ** 2
    light *= (1 - np.float32(rng.uniform(0.2, 0.7)) * far)[..., None]
    light *= ((1 + rng.uniform(-0.09, 0.09, 3) * severity) * rng.uniform(0.75, 1.5)).astype(np.float32)
    light = _blur(light, rng, severity)
    light += rng.standard_normal(light.shape, np.float32) * np.sqrt(np.maximum(light, 0) * 0.0004 + 1e-5) * np.float32(severity)
    levels = np.asarray(255 * np.linspace(0, 1, 4096) ** (1 / rng.uniform(1.9, 2.5)), np.uint8)
    pixels = levels[np.clip(light * 4095, 0, 4095).astype(np.uint16)]
    if rng.random() < 0.5:
        pixels = _apply_colour_filter(pixels)
    if rng.random() < 0.6:
        soft = cv2.GaussianBlur(pixels, (0, 0), 1.5)
        pixels = np.asarray(cv2.addWeighted(pixels, 1.6, soft, -0.6, 0), np.uint8)
    return pixels


def _draw_glare(rng: Rng, x: Array, y: Array) -> Array:
    """Draw the reflection of a lamp or a window, soft or with an edge, 0 to 1."""
    height, width = x.shape
    wide, tall, turn = rng.uniform(0.04, 0.3) * width, rng.uniform(0.04, 0.25) * height, rng.uniform(0, np.pi)
    right, down = x - np.float32(rng.uniform(0, width)), y - np.float32(rng.uniform(0, height))
    cos, sin = np.float32(np.cos(turn)), np.float32(np.sin(turn))
    bump = ((right * cos + down * sin) / np.float32(wide)) ** 2 + ((down * cos - right * sin) / np.float32(tall)) ** 2
    return np.asarray(np.exp(-(bump ** int(rng.choice([1, 1, 3])))), np.float32)


def _blur(light: Array, rng: Rng, severity: int) -> Array:
    """Blur: a little out of focus, and sometimes a shaking hand."""
    light = cv2.GaussianBlur(light, (0, 0), rng.uniform(0.5, 0.6 + 0.4 * severity)).astype(np.float32)
    length = int(rng.uniform(0, 3.5) * severity) if rng.random() < 0.3 * severity else 0
    if length < 2:
        return light
    kernel = np.zeros((2 * length + 1, 2 * length + 1), np.float32)
    angle = rng.uniform(0, np.pi)
    step = int(np.cos(angle) * length / 2 * 16), int(np.sin(angle) * length / 2 * 16)
    cv2.line(kernel, (length * 16 - step[0], length * 16 - step[1]), (length * 16 + step[0], length * 16 + step[1]), 1.0,
             1, cv2.LINE_AA, 4)  # fmt: skip
    return np.asarray(cv2.filter2D(light, -1, kernel / kernel.sum()), np.float32)


def _apply_colour_filter(pixels: Pixels) -> Pixels:
    """Apply the colour filter of a sensor: it measures one colour for each pixel and estimates the others from neighbours."""
    raw = pixels[..., 1].copy()
    raw[0::2, 0::2], raw[1::2, 1::2] = pixels[0::2, 0::2, 0], pixels[1::2, 1::2, 2]
    return np.asarray(cv2.cvtColor(raw, cv2.COLOR_BayerRGGB2RGB), np.uint8)
