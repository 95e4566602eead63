"""Art drawn shape by shape: landscapes, night skies, sprites, banners, mazes, compositions of rectangles and discs.

Each function draws one picture of the given size in pixels.
"""

import numpy as np
from PIL import Image, ImageDraw

from infra.sandbox.art.canvas import (
    Array,
    Rng,
    apply_gradient,
    colour_scheme,
    fractal_noise,
    pixel_grid,
    shuffle_colours,
    to_image,
    to_pixels,
    to_rgb,
)


def _ridge(rng: Rng, width: int, height: int, level: float, roughness: float) -> Array:
    """Return a mountain line: for each column the row above which there is sky, around `level` of the height."""
    line = fractal_noise(rng, width, height, cells=2, octaves=4)[height // 2] - 0.5
    ridge: Array = (level + line * roughness) * height
    return ridge


def landscape(rng: Rng, width: int, height: int) -> Image.Image:
    """A sky with a sun above ranges of hills that darken towards the front."""
    x, y = pixel_grid(width, height)
    pixels = apply_gradient((y - y.min()) / np.ptp(y), colour_scheme(rng, 3, dark=0.5)[:: -1 if rng.random() < 0.5 else 1])
    sun = np.hypot(x - rng.uniform(-0.7, 0.7), y - rng.uniform(-0.7, 0.1)) < rng.uniform(0.12, 0.32)
    pixels[sun] = (1.0, rng.uniform(0.75, 1), rng.uniform(0.3, 0.9))
    hills = colour_scheme(rng, int(rng.integers(3, 6)), dark=0.12, light=0.7)[::-1]
    rows = np.arange(height)[:, None]
    for i, colour in enumerate(hills):
        level = 0.45 + 0.5 * i / len(hills)
        pixels[rows > _ridge(rng, width, height, level, rng.uniform(0.15, 0.45))] = colour
    return to_image(pixels)


def night(rng: Rng, width: int, height: int) -> Image.Image:
    """Stars, a nebula and a moon above the silhouette of a town."""
    x, y = pixel_grid(width, height)
    cloud = fractal_noise(rng, width, height, cells=2, octaves=4)
    pixels = apply_gradient(cloud**2, colour_scheme(rng, 3, dark=0.05, light=0.6))
    stars = rng.random((height, width)) < rng.uniform(0.004, 0.012)
    pixels[stars] = rng.uniform(0.6, 1, (int(stars.sum()), 1))
    left, top, size = rng.uniform(-0.7, 0.7), rng.uniform(-0.7, -0.1), rng.uniform(0.15, 0.4)
    moon = np.hypot(x - left, y - top) < size
    if rng.random() < 0.6:
        moon &= np.hypot(x - left - size * 0.5, y - top - size * 0.1) > size * 0.9
    pixels[moon] = (1, 0.98, 0.85)
    picture = to_image(pixels)
    draw = ImageDraw.Draw(picture)
    edge = 0
    while edge < width:
        house, tall = int(rng.integers(8, 26)), int(rng.uniform(0.08, 0.38) * height)
        draw.rectangle((edge, height - tall, edge + house, height), fill=(22, 20, 30))
        for window in range(edge + 3, edge + house - 3, 5):
            for floor in range(height - tall + 4, height - 3, 7):
                if rng.random() < 0.45:
                    draw.rectangle((window, floor, window + 1, floor + 2), fill=(240, 205, 90))
        edge += house + 1
    return picture


def sprite(rng: Rng, width: int, height: int) -> Image.Image:
    """A creature of large pixels, mirrored left to right, with eyes, on a plain or striped background."""
    size = int(rng.integers(10, 18)) // 2 * 2
    half = size // 2
    rows, columns = np.mgrid[0:size, 0:half]
    shape = np.hypot((rows - size / 2 + 0.5) / (size * 0.46), (half - columns - 0.5) / (half * 0.95))
    body = shape + rng.normal(0, 0.22, shape.shape) < 1
    colours = colour_scheme(rng, 5, dark=0.25)
    pixels = np.empty((size, size, 3), np.float32)
    pixels[:] = colours[int(rng.integers(3, 5))] if rng.random() < 0.5 else (0.93, 0.91, 0.85)
    if rng.random() < 0.4:
        pixels[:: int(rng.integers(2, 4))] *= 0.85
    left = pixels[:, :half]
    left[body] = colours[:3][rng.integers(0, 3, int(body.sum()))]
    eye = int(rng.integers(size // 4, size // 2)), int(rng.integers(half // 3, half - 1))
    left[eye] = (1, 1, 1)
    left[eye[0] + 1, eye[1]] = (0.05, 0.05, 0.1)
    left[int(size * 0.7), half - int(rng.integers(2, half - 1)) :] = (0.75, 0.1, 0.12)
    pixels[:, half:] = left[:, ::-1]
    side = min(width, height)
    big = to_image(pixels).resize((side, side), Image.Resampling.NEAREST)
    picture = Image.new("RGB", (width, height), to_rgb(colours[4] * rng.uniform(0.5, 0.9)))
    copies = max(width, height) // side
    left_over = max(width, height) - copies * side
    for i in range(copies):
        start = left_over // 2 + i * side
        picture.paste(big, (start, 0) if width >= height else (0, start))
    return picture


def banner(rng: Rng, width: int, height: int) -> Image.Image:
    """A sign with stripes, a border, an emblem and lines of block letters of a made-up script."""
    ink, paper, accent, frame = shuffle_colours(rng, colour_scheme(rng, 4, dark=0.1))
    picture = Image.new("RGB", (width, height), to_rgb(paper))
    draw = ImageDraw.Draw(picture)
    unit = min(width, height)
    for stripe in range(int(rng.integers(0, 4))):
        top = int(rng.uniform(0, height))
        draw.rectangle((0, top, width, top + unit // (6 + stripe)), fill=to_rgb(accent))
    centre, radius = (
        (int(rng.uniform(0.25, 0.75) * width), int(height * rng.uniform(0.2, 0.4))),
        int(unit * rng.uniform(0.12, 0.24)),
    )
    draw.regular_polygon(
        (*centre, radius), int(rng.integers(3, 9)), rotation=int(rng.integers(360)), fill=to_rgb(frame), outline=to_rgb(ink)
    )
    cell = int(rng.integers(3, 6))
    for line in range(int(rng.integers(1, 4))):
        top = int(height * 0.55) + line * cell * 7
        for start in range(cell * 2, width - cell * 5, cell * 5):
            glyph = rng.random((5, 3)) < 0.6
            for row, column in zip(*np.nonzero(glyph), strict=True):
                corner = start + int(column) * cell, top + int(row) * cell
                draw.rectangle((*corner, corner[0] + cell - 1, corner[1] + cell - 1), fill=to_rgb(ink))
    draw.rectangle((0, 0, width - 1, height - 1), outline=to_rgb(frame), width=int(rng.integers(2, 8)))
    return picture


def maze(rng: Rng, width: int, height: int) -> Image.Image:
    """Truchet tiles: each cell is turned one way or the other, so that the lines form a labyrinth."""
    cell = int(rng.choice([8, 16, 32]))
    tile = np.ones((cell, cell), np.float32)
    rows, columns = np.mgrid[0:cell, 0:cell] + 0.5
    if rng.random() < 0.5:
        for corner in (0, cell):
            tile[np.abs(np.hypot(rows - corner, columns - corner) - cell / 2) < cell / 6] = 0
    else:
        tile[np.abs(rows - columns) < cell / 5] = 0
    down, across = height // cell, width // cell
    turned = rng.random((down, across)) < 0.5
    tiles = np.where(turned[:, :, None, None], np.rot90(tile), tile)
    lines = tiles.transpose(0, 2, 1, 3).reshape(height, width)
    wall, *ground = shuffle_colours(rng, colour_scheme(rng, 4, dark=0.1))
    pixels = apply_gradient(fractal_noise(rng, width, height, cells=2, octaves=2), np.array(ground))
    pixels[lines == 0] = wall
    return to_image(pixels)


def rectangles(rng: Rng, width: int, height: int) -> Image.Image:
    """A plane divided repeatedly by black bars, with some fields coloured."""
    bright = colour_scheme(rng, 4, dark=0.5)
    picture = Image.new("RGB", (width, height), (245, 240, 228))
    draw = ImageDraw.Draw(picture)
    bar = int(rng.integers(2, 6))

    def divide(left: int, top: int, right: int, bottom: int, depth: int) -> None:
        wide, tall = right - left, bottom - top
        if depth == 0 or max(wide, tall) < 36 or (depth < 3 and rng.random() < 0.25):
            if rng.random() < 0.6:
                draw.rectangle((left, top, right, bottom), fill=to_rgb(bright[rng.integers(4)]))
            draw.rectangle((left, top, right, bottom), outline=(20, 20, 24), width=bar)
        elif wide > tall:
            cut = left + int(wide * rng.uniform(0.3, 0.7))
            divide(left, top, cut, bottom, depth - 1)
            divide(cut, top, right, bottom, depth - 1)
        else:
            cut = top + int(tall * rng.uniform(0.3, 0.7))
            divide(left, top, right, cut, depth - 1)
            divide(left, cut, right, bottom, depth - 1)

    divide(0, 0, width, height, 6)
    return picture


def discs(rng: Rng, width: int, height: int) -> Image.Image:
    """A poster of transparent discs, rings and beams on a plain background."""
    colours = shuffle_colours(rng, colour_scheme(rng, 6, dark=0.2))
    picture = Image.new("RGB", (width, height), to_rgb(colours[0]))
    for _ in range(int(rng.integers(5, 12))):
        layer = picture.copy()
        draw = ImageDraw.Draw(layer)
        colour = to_rgb(colours[rng.integers(1, 6)])
        x, y, size = rng.uniform(0, width), rng.uniform(0, height), rng.uniform(0.1, 0.45) * min(width, height)
        box = (x - size, y - size, x + size, y + size)
        match rng.integers(3):
            case 0:
                draw.ellipse(box, fill=colour)
            case 1:
                draw.ellipse(box, outline=colour, width=int(size / 3) + 1)
            case _:
                draw.line((x, y, rng.uniform(0, width), rng.uniform(0, height)), fill=colour, width=int(size / 3) + 1)
        picture = Image.blend(picture, layer, float(rng.uniform(0.6, 1)))
    return to_image(to_pixels(picture) * (0.9 + 0.1 * fractal_noise(rng, width, height, cells=8, octaves=1)[..., None]))
