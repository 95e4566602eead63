"""Art with few local features: flags, emblems, gradients, faces of big pixels, silhouettes."""

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from infra.sandbox.art.canvas import Array, Rng, apply_gradient, colour_scheme, pixel_grid, shuffle_colours, to_image, to_rgb


def draw_flag(rng: Rng, width: int, height: int) -> Image.Image:
    """Draw stripes, with a disc, a star, a cross or a ring on them."""
    colours = [to_rgb(each) for each in shuffle_colours(rng, colour_scheme(rng, 5, dark=0.2))]
    picture = Image.new("RGB", (width, height), colours[0])
    draw = ImageDraw.Draw(picture)
    stripes, upright = int(rng.integers(2, 5)), rng.random() < 0.5
    for stripe in range(stripes):
        low, high = stripe / stripes, (stripe + 1) / stripes
        box = (low * width, 0, high * width, height) if upright else (0, low * height, width, high * height)
        draw.rectangle(box, fill=colours[stripe % 3])
    _draw_sign(draw, rng, (rng.uniform(0.3, 0.7) * width, rng.uniform(0.3, 0.7) * height), min(width, height), colours[4])
    return picture


def draw_emblem(rng: Rng, width: int, height: int) -> Image.Image:
    """Draw one sign or one or two big letters on a plain background."""
    colours = [to_rgb(each) for each in shuffle_colours(rng, colour_scheme(rng, 3, dark=0.1))]
    picture = Image.new("RGB", (width, height), colours[0])
    draw, unit = ImageDraw.Draw(picture), min(width, height)
    if rng.random() < 0.5:
        letters = "".join(chr(65 + at) for at in rng.integers(0, 26, rng.integers(1, 3)))
        font = ImageFont.load_default(unit * rng.uniform(0.5, 0.8))
        draw.text((width / 2, height / 2), letters, fill=colours[1], font=font, anchor="mm")
    else:
        _draw_sign(draw, rng, (width / 2, height / 2), unit * 1.5, colours[1])
    if rng.random() < 0.4:
        draw.rectangle((0, 0, width - 1, height - 1), outline=colours[2], width=unit // int(rng.integers(12, 30)))
    return picture


def _draw_sign(draw: ImageDraw.ImageDraw, rng: Rng, middle: tuple[float, float], unit: float, fill: tuple[int, ...]) -> None:
    x, y, radius = *middle, unit * rng.uniform(0.12, 0.26)
    match int(rng.integers(4)):
        case 0:
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=fill)
        case 1:
            corners = int(rng.integers(4, 8)) * 2
            turns = np.arange(corners) * 2 * np.pi / corners + rng.uniform(0, 6)
            reach = np.where(np.arange(corners) % 2, radius, radius * rng.uniform(0.4, 0.6))
            draw.polygon([(x + r * np.cos(t), y + r * np.sin(t)) for t, r in zip(turns, reach, strict=True)], fill=fill)
        case 2:
            arm = radius * rng.uniform(0.2, 0.45)
            draw.rectangle((x - radius, y - arm, x + radius, y + arm), fill=fill)
            draw.rectangle((x - arm, y - radius, x + arm, y + radius), fill=fill)
        case _:
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), outline=fill, width=max(2, int(radius / 3)))


def draw_sunset(rng: Rng, width: int, height: int) -> Image.Image:
    """Draw a gradient with a sun above a line."""
    x, y = pixel_grid(width, height)
    turn = rng.uniform(-0.6, 0.6)
    along = y * np.cos(turn) + x * np.sin(turn)
    pixels = apply_gradient((along - along.min()) / np.ptp(along), colour_scheme(rng, int(rng.integers(2, 4)), dark=0.2))
    if rng.random() < 0.8:
        pixels[np.hypot(x - rng.uniform(-0.5, 0.5), y - rng.uniform(-0.5, 0.3)) < rng.uniform(0.12, 0.4)] = (1, 0.93, 0.7)
    if rng.random() < 0.6:
        pixels[y > rng.uniform(0.2, 0.8)] = colour_scheme(rng, 3, dark=0.05, light=0.4)[0]
    return to_image(pixels)


def draw_face(rng: Rng, width: int, height: int) -> Image.Image:
    """Draw a few big pixels, like the faces of the game."""
    size = int(rng.integers(5, 9))
    colours: Array = colour_scheme(rng, 4, dark=0.15)
    pixels = colours[rng.choice(4, (size, size), p=(0.1, 0.65, 0.2, 0.05))]
    pixels[:, size // 2 :] = pixels[:, : (size + 1) // 2][:, ::-1][:, : size - size // 2]
    return to_image(pixels).resize((width, height), Image.Resampling.NEAREST)


def draw_silhouette(rng: Rng, width: int, height: int) -> Image.Image:
    """Draw a smooth blob in front of a plain or shaded background."""
    x, y = pixel_grid(width, height)
    turn, away = np.arctan2(y, x), np.hypot(x, y)
    edge = rng.uniform(0.4, 0.7) + sum(rng.uniform(0.02, 0.14) * np.cos(k * turn + rng.uniform(0, 6)) for k in range(1, 6))
    dark, middle, light = colour_scheme(rng, 3, dark=0.08)
    pixels = (
        apply_gradient((y - y.min()) / np.ptp(y), np.array([middle, light]))
        if rng.random() < 0.5
        else np.full((*x.shape, 3), light)
    )
    pixels[away < edge] = dark
    return to_image(pixels.astype(np.float32))


KINDS = (draw_flag, draw_emblem, draw_sunset, draw_face, draw_silhouette)


def draw_plain(rng: Rng, width: int, height: int) -> Image.Image:
    """Draw a plain piece of a random kind."""
    return KINDS[int(rng.integers(len(KINDS)))](rng, width, height)
