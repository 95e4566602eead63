"""Blocks like those of the game: textures of 16 x 16 pixels, and the walls and floors built of them."""

from collections.abc import Callable

import numpy as np

from infra.sandbox.art.camera import Pixels
from infra.sandbox.art.canvas import Array, Rng

TEXTURE_PX = 16

WOODS = ((162, 130, 78), (114, 84, 48), (192, 175, 121), (66, 43, 20), (160, 115, 80), (168, 90, 50))
DYES = (
    (234, 236, 236), (240, 118, 19), (189, 68, 179), (58, 175, 217), (248, 197, 39), (112, 185, 25), (237, 141, 172), (62, 68, 71),
    (142, 142, 134), (21, 137, 145), (121, 42, 172), (53, 57, 157), (114, 71, 40), (84, 109, 27), (160, 39, 34), (20, 21, 25),
)  # fmt: skip
ROCKS = ((125, 125, 125), (136, 136, 136), (149, 103, 85), (188, 188, 188), (80, 80, 82), (216, 203, 155), (42, 36, 41))


def _grain(rng: Rng, colour: tuple[int, ...], amount: float) -> Array:
    """Fill a texture with a colour whose brightness varies from pixel to pixel."""
    shades = 1 + rng.normal(0, amount, (TEXTURE_PX, TEXTURE_PX, 1))
    grained: Array = (np.array(colour, np.float32) * shades).astype(np.float32)
    return grained


def _pick_colour(rng: Rng, colours: tuple[tuple[int, ...], ...]) -> tuple[int, ...]:
    return colours[int(rng.integers(len(colours)))]


def stone(rng: Rng) -> Array:
    """Rock with darker streaks."""
    texture = _grain(rng, _pick_colour(rng, ROCKS), 0.05)
    for _ in range(int(rng.integers(4, 9))):
        row, column, length = rng.integers(0, TEXTURE_PX), rng.integers(0, TEXTURE_PX - 3), rng.integers(2, 7)
        texture[row, column : column + length] *= rng.uniform(0.8, 0.93)
    return texture


def cobble(rng: Rng) -> Array:
    """Round stones with dark joints."""
    rows, columns = np.mgrid[0:TEXTURE_PX, 0:TEXTURE_PX]
    places = rng.uniform(0, TEXTURE_PX, (9, 2))
    apart = np.stack(
        [
            np.hypot(
                (rows - y + TEXTURE_PX / 2) % TEXTURE_PX - TEXTURE_PX / 2,
                (columns - x + TEXTURE_PX / 2) % TEXTURE_PX - TEXTURE_PX / 2,
            )
            for y, x in places
        ]
    )
    near, next_near = np.sort(apart, 0)[:2]
    texture = _grain(rng, _pick_colour(rng, ROCKS), 0.06) * (0.85 + 0.3 * rng.random(9)[apart.argmin(0)])[..., None]
    texture[next_near - near < 1.1] *= 0.68
    return np.asarray(texture, np.float32)


def bricks(rng: Rng) -> Array:
    """Courses of bricks, fine or coarse."""
    texture = _grain(rng, _pick_colour(rng, (*ROCKS, (151, 98, 83))), 0.05)
    course = int(rng.choice([4, 8]))
    for row in range(course - 1, TEXTURE_PX, course):
        texture[row] *= 0.7
        shift = (row // course % 2) * course
        texture[row - course + 1 : row, (course * 2 - 1 + shift) % TEXTURE_PX :: course * 2] *= 0.75
    return texture


def planks(rng: Rng) -> Array:
    """Four boards with grain along them."""
    wood = _pick_colour(rng, WOODS)
    texture = _grain(rng, wood, 0.02) * (1 + rng.normal(0, 0.06, (TEXTURE_PX, 1, 1)))
    texture[3::4] *= 0.72
    for board in range(4):
        texture[board * 4 : board * 4 + 3, int(rng.integers(TEXTURE_PX))] *= 0.78
    return texture.astype(np.float32)


def wool(rng: Rng) -> Array:
    """Dyed wool: a soft weave."""
    rows, columns = np.mgrid[0:TEXTURE_PX, 0:TEXTURE_PX]
    weave = 1 + 0.05 * np.sin((rows + columns) * 1.6) + 0.03 * np.sin(rows * 2.1 - columns)
    return np.asarray(_grain(rng, _pick_colour(rng, DYES), 0.03) * weave[..., None], np.float32)


def concrete(rng: Rng) -> Array:
    """Dyed concrete, almost plain."""
    return _grain(rng, _pick_colour(rng, DYES), 0.008)


def quartz(rng: Rng) -> Array:
    """Quartz: almost white, with an edge."""
    texture = _grain(rng, (236, 230, 223), 0.012)
    texture[-1] *= 0.93
    return texture


def grass(rng: Rng) -> Array:
    """Grass, the ground outside."""
    return _grain(rng, (104, 150, 62), 0.12)


BLOCK_TEXTURES: tuple[Callable[[Rng], Array], ...] = (stone, cobble, bricks, planks, wool, concrete, quartz)


def random_block(rng: Rng) -> Array:
    """Draw a random block for walls: (16, 16, 3), 0 to 255."""
    return BLOCK_TEXTURES[int(rng.integers(len(BLOCK_TEXTURES)))](rng)


def lay_blocks(rng: Rng, columns: int, rows: int, texture: Array, *, accents: float = 0.6) -> Pixels:
    """Build a wall of one block, sometimes with bands, pillars or scattered blocks of another. 16 pixels a block."""
    kinds = np.zeros((rows, columns), np.intp)
    if rng.random() < accents:
        match int(rng.integers(3)):
            case 0:
                kinds[[0, -1]] = 1
            case 1:
                kinds[:, int(rng.integers(6)) :: int(rng.integers(3, 7))] = 1
            case _:
                kinds[rng.random(kinds.shape) < rng.uniform(0.05, 0.4)] = 1
    blocks = np.stack([texture, random_block(rng)])[kinds]
    pixels = blocks.transpose(0, 2, 1, 3, 4).reshape(rows * TEXTURE_PX, columns * TEXTURE_PX, 3)
    return np.clip(pixels, 0, 255).astype(np.uint8)
