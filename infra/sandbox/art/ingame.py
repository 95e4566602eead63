"""Screenshots of the game with map art on a wall, such as players post to ask who made it.

A map fills its item frame, one block, and the game draws it without smoothing at any distance. Walls, floors, neighbouring pieces,
field of view, light, fog, interface and saving vary from picture to picture.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image

from infra.sandbox.art import hud
from infra.sandbox.art.camera import ArtPicture, Camera, CameraView, Pixels, look_at
from infra.sandbox.art.canvas import Array, Rng, fractal_noise
from infra.sandbox.art.generate import MAP_PX
from infra.sandbox.art.textures import TEXTURE_PX, grass, lay_blocks, random_block

SCREEN_SIZES_PX = ((1920, 1080), (1920, 1080), (1280, 720), (1366, 768), (1600, 900), (1536, 864), (1920, 1200), (1024, 768))
SCREENSHOT_YAW_DEG, SCREENSHOT_PITCH_DEG = (10, 24, 35), (6, 12, 20)
"""The largest viewing angle to the side and up or down, in degrees, by severity."""
SCREEN_SHARES = ((0.45, 0.92), (0.28, 0.7), (0.14, 0.45))
"""The share of the screen's height or width that the piece takes (from, to), by severity."""
WALL_MARGIN_BLOCKS = 12
"""Blocks of wall on each side of a piece."""
EYE_HEIGHT_BLOCKS = 1.62
FRAME_DEPTH_BLOCKS = 1 / 16
FRAME_COLOUR = (162, 130, 78)


@dataclass(frozen=True, slots=True)
class _Build:
    """A piece on a wall: its width and height in blocks, and the height of its lower edge above the floor."""

    width: int
    height: int
    floor: float

    @property
    def corners(self) -> Array:
        """The corners, clockwise from the top left. The middle of the piece is the origin; maps hang a little before the wall."""
        x, y = self.width / 2, self.height / 2
        return np.array(
            [(-x, y, FRAME_DEPTH_BLOCKS), (x, y, FRAME_DEPTH_BLOCKS), (x, -y, FRAME_DEPTH_BLOCKS), (-x, -y, FRAME_DEPTH_BLOCKS)],
            np.float32,
        )


def take_screenshot(piece: Image.Image, rng: Rng, severity: int, *, beside: Sequence[Image.Image] = ()) -> ArtPicture:
    """Draw a screenshot of the game with the piece on a wall. `severity` goes from 1 (near and straight) to 3 (far and askew).

    The game shows 128 pixels a map, so a piece counts as that many maps. `beside` are pieces that hang next to it.
    """
    build = _Build(max(1, round(piece.width / MAP_PX)), max(1, round(piece.height / MAP_PX)), float(rng.integers(0, 4)))
    camera = _place_camera(rng, severity, build)
    light = rng.uniform(0.95, 1.0) if rng.random() < 0.6 else rng.uniform((0.7, 0.45, 0.28)[severity - 1], 0.95)
    glowing = rng.random() < 0.25
    view = CameraView.with_backdrop(camera, _draw_sky(rng, camera, light))
    _draw_surroundings(view, rng, build, light)
    _draw_pieces(view, rng, build, piece, beside, 1.0 if glowing else light)
    pixels = _apply_atmosphere(view, rng, severity)
    place = camera.project_quad(build.corners)
    image = Image.fromarray(pixels)
    if rng.random() < 0.65:
        image = hud.draw_hud(
            image, rng, chat=rng.random() < 0.35, debug_screen=rng.random() < 0.06 * severity, hand=rng.random() < 0.6
        )
    return _crop_and_scale(ArtPicture(image, place), rng, severity)


def _place_camera(rng: Rng, severity: int, build: _Build) -> Camera:
    width, height = SCREEN_SIZES_PX[int(rng.integers(len(SCREEN_SIZES_PX)))]
    focal_px = height / 2 / np.tan(np.radians(rng.choice([70, 70, 70, 60, 80, 90, 50, 30])) / 2)
    filled = rng.uniform(*SCREEN_SHARES[severity - 1])
    distance = max(build.height * focal_px / (height * filled), build.width * focal_px / (width * filled))
    yaw, lift = (
        np.radians(rng.uniform(-1, 1) * SCREENSHOT_YAW_DEG[severity - 1]),
        np.radians(rng.uniform(-1, 1) * SCREENSHOT_PITCH_DEG[severity - 1]),
    )
    away = np.array([np.sin(yaw) * np.cos(lift), np.sin(lift), np.cos(yaw) * np.cos(lift)]) * distance
    away[1] = max(away[1], EYE_HEIGHT_BLOCKS - build.floor - build.height / 2)
    slack = (0.04, 0.12, 0.3)[severity - 1] * distance * np.array([width, height]) / focal_px / 2
    at = np.array([*(rng.uniform(-1, 1, 2) * slack), 0.0])
    return look_at(away, at, size=(width, height), focal_px=float(focal_px))


def _draw_sky(rng: Rng, camera: Camera, light: float) -> Pixels:
    """Draw the sky above the horizon, or the dark ceiling of a hall."""
    up = np.clip(camera.rays[..., 1] * 1.5 + 0.3, 0, 1)[..., None]
    high, low = ((90, 140, 255), (190, 212, 255)) if rng.random() < 0.7 else ((18, 18, 22), (50, 48, 52))
    return np.asarray(light * (np.array(high) * up + np.array(low) * (1 - up)), np.uint8)


def _light_wall(pixels: Pixels, rng: Rng, light: float, shade: float) -> Pixels:
    """Light a wall with lamps: a smooth pattern, a little warmer where it is dark."""
    height, width = pixels.shape[:2]
    lamps = fractal_noise(rng, max(2, width // TEXTURE_PX), max(2, height // TEXTURE_PX), cells=2, octaves=2)
    field = cv2.resize(lamps, (width, height), interpolation=cv2.INTER_LINEAR)
    level = (light * shade * (1 - (1 - light) * 0.8 * field))[..., None]
    warm = np.array([1.0, 1 - 0.1 * (1 - light), 1 - 0.25 * (1 - light)])
    return np.asarray(np.clip(pixels * level * warm, 0, 255), np.uint8)


def _draw_surroundings(view: CameraView, rng: Rng, build: _Build, light: float) -> None:
    """Draw the wall, the floor and sometimes a wall to the side."""
    texture = random_block(rng)
    columns, above = build.width + 2 * WALL_MARGIN_BLOCKS, int(rng.integers(1, 7))
    rows = int(build.floor) + build.height + above
    wall = lay_blocks(rng, columns, rows, texture)
    small = view.camera.focal_px / float(np.linalg.norm(view.camera.position)) / TEXTURE_PX
    if small < 1:  # unlike maps, distant blocks are drawn from smaller copies of their textures
        level = 2 ** int(np.ceil(-np.log2(max(small, 0.13))))
        wall = np.asarray(cv2.resize(wall, None, fx=1 / level, fy=1 / level, interpolation=cv2.INTER_AREA), np.uint8)
    left, top, bottom = -build.width / 2 - WALL_MARGIN_BLOCKS, build.height / 2 + above, -build.height / 2 - build.floor
    if rng.random() < 0.25:
        edging = lay_blocks(rng, build.width + 2, build.height + 2, random_block(rng), accents=0)
        _paste(
            wall,
            edging,
            (WALL_MARGIN_BLOCKS - 1) / columns,
            (above - 1) / rows,
            (build.width + 2) / columns,
            (build.height + 2) / rows,
        )
    view.draw_picture(_light_wall(wall, rng, light, 0.8), (left, top, 0), (columns, 0, 0), (0, bottom - top, 0))
    deep = 24
    ground = lay_blocks(rng, columns, deep, grass(rng) if rng.random() < 0.3 else random_block(rng), accents=0.3)
    view.draw_picture(_light_wall(ground, rng, light, 1.0), (left, bottom, 0), (columns, 0, 0), (0, 0, deep))
    if rng.random() < 0.35:
        way = int(rng.choice([-1, 1]))
        side = way * max(build.width / 2 + int(rng.integers(1, 5)), way * float(view.camera.position[0]) + 1)
        view.draw_picture(
            _light_wall(lay_blocks(rng, deep, rows, texture), rng, light, 0.6), (side, top, 0), (0, 0, deep), (0, bottom - top, 0)
        )


def _paste(wall: Pixels, picture: Pixels, x: float, y: float, width: float, height: float) -> None:
    rows, columns = wall.shape[:2]
    left, top = max(0, round(x * columns)), max(0, round(y * rows))
    size = min(columns - left, round(width * columns)), min(rows - top, round(height * rows))
    wall[top : top + size[1], left : left + size[0]] = cv2.resize(picture, size, interpolation=cv2.INTER_NEAREST)


def _draw_pieces(
    view: CameraView, rng: Rng, build: _Build, piece: Image.Image, beside: Sequence[Image.Image], light: float
) -> None:
    """Draw the maps of the piece and its neighbours: usually edge to edge, sometimes with the wood of the frames around each."""
    bordered = rng.random() < 0.15
    corner = build.corners[0]
    _draw_maps(view, piece, build.width, build.height, corner, light, bordered)
    edge = {-1: corner[0], 1: -corner[0]}
    for other in beside:
        way = int(rng.choice([-1, 1]))
        width, height = max(1, round(other.width / MAP_PX)), max(1, round(other.height / MAP_PX))
        gap = int(rng.choice([0, 1, 1, 2, 3]))
        left = edge[way] + gap if way > 0 else edge[way] - gap - width
        edge[way] += way * (gap + width)
        top = corner[1] + int(rng.integers(-1, 2))
        _draw_maps(view, other, width, height, np.array([left, top, FRAME_DEPTH_BLOCKS]), light, bordered)


def _draw_maps(view: CameraView, piece: Image.Image, width: int, height: int, corner: Array, light: float, bordered: bool) -> None:
    maps = np.asarray(piece.convert("RGB").resize((width * MAP_PX, height * MAP_PX), Image.Resampling.NEAREST)).copy()
    if bordered:
        thin = MAP_PX // TEXTURE_PX // 2
        for number in range(width + 1):
            maps[:, max(0, number * MAP_PX - thin) : number * MAP_PX + thin] = FRAME_COLOUR
        for number in range(height + 1):
            maps[max(0, number * MAP_PX - thin) : number * MAP_PX + thin] = FRAME_COLOUR
    x, y, _ = corner
    view.draw_picture((maps * light).astype(np.uint8), corner, (width, 0, 0), (0, -height, 0))
    wood = np.full((TEXTURE_PX, TEXTURE_PX, 3), np.array(FRAME_COLOUR) * light * 0.6, np.uint8)
    for start, along in (((x, y, 0), (0, -height, 0)), ((x + width, y, 0), (0, -height, 0)),
                         ((x, y, 0), (width, 0, 0)), ((x, y - height, 0), (width, 0, 0))):  # fmt: skip
        view.draw_picture(wood, start, (0, 0, FRAME_DEPTH_BLOCKS), along)


def _apply_atmosphere(view: CameraView, rng: Rng, severity: int) -> Pixels:
    """Apply fog by distance, the game's vignette (darker edges), the screen's brightness, and sometimes smoothing."""
    pixels = view.pixels.astype(np.float32)
    if rng.random() < 0.12 * severity:
        depth = np.minimum(view.depth, 1e3)[..., None]
        thick = 1 - np.exp(-depth * rng.uniform(0.1, 0.5) * severity / 3 / np.linalg.norm(view.camera.position))
        pixels = pixels * (1 - thick) + np.array(rng.choice([(190, 205, 230), (30, 30, 34), (150, 150, 155)])) * thick
    if rng.random() < 0.5:
        rays = view.camera.rays @ view.camera.rotation.T
        pixels *= np.clip(1.05 - rng.uniform(0.1, 0.35) * np.hypot(rays[..., 0], rays[..., 1])[..., None] ** 2, 0.3, 1)
    gamma = rng.uniform(0.75, 1.1)
    seen: Pixels = (255 * np.clip(pixels / 255, 0, 1) ** gamma).astype(np.uint8)
    if rng.random() < 0.2 * severity:  # antialiasing of a shader pack, or a screen that is scaled
        seen = cv2.GaussianBlur(seen, (0, 0), rng.uniform(0.4, 0.5 + 0.25 * severity)).astype(np.uint8)
    return seen


def _crop_and_scale(scene: ArtPicture, rng: Rng, severity: int) -> ArtPicture:
    """Sometimes crop around the piece, sometimes scale down, and choose PNG or a JPEG quality."""
    image, place = scene.image, np.array(scene.place).reshape(4, 2) * scene.image.size
    if rng.random() < 0.2:
        margin = rng.uniform(0.02, 0.5, 4) * np.ptp(place, axis=0).max()
        low, high = place.min(0) - margin[:2], place.max(0) + margin[2:]
        left, top = (int(max(0, each)) for each in low)
        right, bottom = (int(min(side, each)) for each, side in zip(high, image.size, strict=True))
        image, place = image.crop((left, top, right, bottom)), place - (left, top)
    if max(image.size) > 1200 and rng.random() < 0.15 * severity:
        factor = rng.uniform(0.55, 0.85)
        size = round(image.width * factor), round(image.height * factor)
        place = place * (size[0] / image.width, size[1] / image.height)
        image = image.resize(size, Image.Resampling.BILINEAR)
    fractions = (place / image.size).ravel()
    x0, y0, x1, y1, x2, y2, x3, y3 = (float(each) for each in fractions)
    quality = None if rng.random() < 0.5 else int(rng.integers((85, 75, 60)[severity - 1], 96))
    return ArtPicture(image, (x0, y0, x1, y1, x2, y2, x3, y3), quality)
