"""Art computed by a formula of the position: plasma, fractals, stained glass, mandalas, contour lines, interference.

Each function draws one picture of the given size in pixels.
"""

import numpy as np
from PIL import Image

from infra.sandbox.art.canvas import (
    Rng,
    apply_gradient,
    colour_scheme,
    fractal_noise,
    normalise,
    pixel_grid,
    shuffle_colours,
    to_image,
)


def plasma(rng: Rng, width: int, height: int) -> Image.Image:
    """Clouds of colour: fractal noise, warped by noise, along a colour scheme."""
    field = fractal_noise(rng, width, height, cells=int(rng.integers(2, 5)), octaves=5)
    waves = np.sin(field * rng.uniform(3, 9) * np.pi + rng.uniform(0, 6))
    return to_image(apply_gradient(normalise(waves), shuffle_colours(rng, colour_scheme(rng, 5))))


def fractal(rng: Rng, width: int, height: int) -> Image.Image:
    """A Julia set near the border of the Mandelbrot set, or a part of that border, coloured by escape time."""
    angle, zoom = rng.uniform(0, 2 * np.pi), rng.uniform(0.6, 1.3)
    border = np.exp(1j * angle) / 2 - np.exp(2j * angle) / 4  # the main cardioid
    x, y = pixel_grid(width, height)
    turn = np.exp(1j * rng.uniform(0, 2 * np.pi))
    plane = ((x + 1j * y) * turn * zoom).astype(np.complex64)
    if rng.random() < 0.6:
        z, c = plane, np.complex64(border * rng.uniform(1.02, 1.1))
    else:
        c = (plane * 0.35 + border).astype(np.complex64)
        z = np.zeros_like(c)
    escaped = np.zeros(z.shape, np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        for _ in range(36):
            z = z * z + c
            escaped += np.abs(z.real) + np.abs(z.imag) < 4
    colours = colour_scheme(rng, 6)
    return to_image(apply_gradient(np.sqrt(escaped / 36), colours if rng.random() < 0.5 else colours[::-1]))


def stained_glass(rng: Rng, width: int, height: int) -> Image.Image:
    """Voronoi cells with dark leads between them."""
    x, y = pixel_grid(width, height)
    count = int(rng.integers(14, 40))
    sites = np.stack([rng.uniform(x.min(), x.max(), count), rng.uniform(y.min(), y.max(), count)], 1).astype(np.float32)
    owner = np.zeros(x.shape, np.intp)
    first, second = np.full_like(x, np.inf), np.full_like(x, np.inf)
    for i, (left, top) in enumerate(sites):
        distance = np.hypot(x - left, y - top)
        second = np.minimum(second, np.maximum(first, distance))
        owner[distance < first] = i
        first = np.minimum(first, distance)
    panes = colour_scheme(rng, 7, dark=0.35)[rng.integers(0, 7, count)]
    glass = panes[owner] * (1.15 - 0.5 * normalise(first))[..., None]
    glass[second - first < rng.uniform(0.025, 0.05)] = 0.08
    return to_image(glass)


def mandala(rng: Rng, width: int, height: int) -> Image.Image:
    """Rings of petals with a rotational symmetry of 4 to 12."""
    x, y = pixel_grid(width, height)
    radius, angle = np.hypot(x, y), np.arctan2(y, x)
    folds = int(rng.integers(4, 13))
    field = np.zeros_like(x)
    for _ in range(3):
        petals = np.cos(folds * angle * int(rng.integers(1, 3)) + rng.uniform(0, 6))
        field += np.sin(radius * rng.uniform(5, 16) + petals * rng.uniform(0.5, 2.5))
    steps = int(rng.integers(5, 9))
    banded = np.floor(normalise(field) * steps * 0.999) / (steps - 1)
    return to_image(apply_gradient(banded, shuffle_colours(rng, colour_scheme(rng, steps))))


def contours(rng: Rng, width: int, height: int) -> Image.Image:
    """A topographic map: noise in terraces with a line at each step."""
    field = fractal_noise(rng, width, height, cells=int(rng.integers(2, 4)), octaves=3) * int(rng.integers(6, 12))
    terraces = apply_gradient(np.floor(field) / field.max(), colour_scheme(rng, 5, dark=0.3))
    edge = np.zeros(field.shape, bool)
    edge[:, 1:] |= np.diff(np.floor(field), axis=1) != 0
    edge[1:, :] |= np.diff(np.floor(field), axis=0) != 0
    terraces[edge] *= 0.35
    return to_image(terraces)


def interference(rng: Rng, width: int, height: int) -> Image.Image:
    """Waves from a few sources, in two or three colours."""
    x, y = pixel_grid(width, height)
    field = np.zeros_like(x)
    for _ in range(int(rng.integers(2, 4))):
        left, top = rng.uniform(-1.3, 1.3, 2)
        field += np.sin(np.hypot(x - left, y - top) * rng.uniform(7, 20))
    return to_image(apply_gradient(normalise(field), shuffle_colours(rng, colour_scheme(rng, int(rng.integers(2, 4))))))
