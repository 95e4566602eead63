"""The game's interface over the world: hotbar, hearts, hunger, experience, crosshair, hand, chat and debug screen."""

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from infra.sandbox.art.canvas import Rng

PLAYER_NAMES = ("Alex", "Steve", "Noor", "Kai", "Efe", "Sunny", "Zuri", "Ari", "Makena", "xX_Builder_Xx")
CHAT_LINES = (
    "who made this one?", "gg", "that took me 3 weeks", "selling maps at spawn", "/home", "brb", "nice wall", "need more carpet",
    "joined the game", "left the game", "has made the advancement [Cartographer]", "lol", "anyone got glow ink?", "where is this",
)  # fmt: skip
SYLLABLES = ("ka", "to", "mi", "ra", "sel", "no", "vi", "den", "lu", "pa", "gro", "shi")
HEART_BITMAP = ("0110110", "1111111", "1111111", "0111110", "0011100", "0001000")


def choose_scale(rng: Rng, height: int) -> int:
    """Choose the interface scale, in screen pixels per interface pixel: the game's own choice, or one less."""
    most = max(1, height // 240)
    return max(1, most - int(rng.integers(0, 2)))


def draw_hud(screen: Image.Image, rng: Rng, *, chat: bool, debug_screen: bool, hand: bool) -> Image.Image:
    """Draw the interface over a screen."""
    unit = choose_scale(rng, screen.height)
    layer = Image.new("RGBA", (screen.width // unit, screen.height // unit), (0, 0, 0, 0))
    draw = ImageDraw.Draw(layer)
    if hand:
        _draw_hand(draw, rng, *layer.size)
    _draw_bars(draw, rng, *layer.size)
    if chat:
        _draw_chat(layer, rng)
    if debug_screen:
        _draw_debug_screen(layer, rng)
    over = layer.resize((layer.width * unit, layer.height * unit), Image.Resampling.NEAREST)
    seen = screen.convert("RGBA")
    seen.alpha_composite(over)
    return _draw_crosshair(seen.convert("RGB"), unit)


def _draw_bars(draw: ImageDraw.ImageDraw, rng: Rng, width: int, height: int) -> None:
    left, top = width // 2 - 91, height - 22
    draw.rectangle((left, top, left + 181, top + 21), fill=(20, 20, 20, 150), outline=(0, 0, 0, 255))
    for slot in range(9):
        start = left + 1 + slot * 20
        draw.rectangle((start, top + 1, start + 19, top + 20), outline=(140, 140, 140, 220))
        if rng.random() < 0.7:
            colour = tuple(int(each) for each in rng.integers(30, 240, 3))
            draw.polygon([(start + 10, top + 4), (start + 16, top + 8), (start + 16, top + 14), (start + 10, top + 18),
                          (start + 4, top + 14), (start + 4, top + 8)], fill=(*colour, 255))  # fmt: skip
            draw.line([(start + 4, top + 8), (start + 10, top + 11), (start + 16, top + 8)], fill=(0, 0, 0, 90))
    chosen = left + int(rng.integers(9)) * 20
    draw.rectangle((chosen - 1, top - 1, chosen + 22, top + 22), outline=(255, 255, 255, 255), width=2)
    if rng.random() < 0.35:  # creative mode has no bars
        return
    draw.rectangle((left, top - 7, left + 181, top - 3), fill=(10, 20, 5, 230))
    draw.rectangle((left, top - 6, left + int(rng.integers(1, 181)), top - 4), fill=(126, 252, 32, 255))
    for each in range(10):
        _draw_icon(draw, left + each * 8, top - 17, (255, 19, 19, 255))
        _draw_icon(draw, left + 174 - each * 8, top - 17, (180, 110, 50, 255))


def _draw_icon(draw: ImageDraw.ImageDraw, left: int, top: int, colour: tuple[int, ...]) -> None:
    draw.rectangle((left, top, left + 8, top + 8), fill=(0, 0, 0, 110))
    draw.point(
        [(left + 1 + x, top + 1 + y) for y, row in enumerate(HEART_BITMAP) for x, pixel in enumerate(row) if pixel == "1"],
        fill=colour,
    )


def _draw_hand(draw: ImageDraw.ImageDraw, rng: Rng, width: int, height: int) -> None:
    skin = tuple(int(each) for each in np.array((224, 172, 136)) * rng.uniform(0.4, 1))
    tip, wrist = (width * rng.uniform(0.72, 0.8), height * rng.uniform(0.66, 0.78)), width * rng.uniform(0.84, 0.95)
    draw.polygon([tip, (tip[0] + width * 0.07, tip[1] - height * 0.05), (wrist + width * 0.1, height), (wrist, height)], fill=skin)
    draw.polygon([tip, (tip[0] - width * 0.015, tip[1] + height * 0.05), (wrist - width * 0.03, height), (wrist, height)],
                 fill=tuple(each * 3 // 4 for each in skin))  # fmt: skip


def _draw_crosshair(screen: Image.Image, unit: int) -> Image.Image:
    pixels = np.asarray(screen).copy()
    x, y, arm, half = screen.width // 2, screen.height // 2, 5 * unit, max(1, unit // 2)
    for part in (np.s_[y - half : y + half, x - arm : x + arm], np.s_[y - arm : y + arm, x - half : x + half]):
        pixels[part] = 255 - pixels[part]
    return Image.fromarray(pixels)


def _draw_text(layer: Image.Image, place: tuple[int, int], text: str, colour: tuple[int, ...]) -> None:
    draw = ImageDraw.Draw(layer)
    draw.fontmode = "1"
    font = ImageFont.load_default(9)
    draw.text((place[0] + 1, place[1] + 1), text, fill=(30, 30, 30, 255), font=font)
    draw.text(place, text, fill=colour, font=font)


def make_chat_line(rng: Rng) -> str:
    """Make up a line of chat."""
    if rng.random() < 0.6:
        return CHAT_LINES[int(rng.integers(len(CHAT_LINES)))]
    words = [
        "".join(SYLLABLES[at] for at in rng.integers(0, len(SYLLABLES), rng.integers(1, 4))) for _ in range(rng.integers(2, 7))
    ]
    return " ".join(words)


def _draw_chat(layer: Image.Image, rng: Rng) -> None:
    lines, wide = int(rng.integers(1, 9)), min(layer.width * 2 // 3, int(rng.integers(160, 320)))
    back = Image.new("RGBA", (wide, lines * 9), (0, 0, 0, 115))
    top = layer.height - 40 - lines * 9
    layer.alpha_composite(back, (0, max(0, top)))
    for line in range(lines):
        name = PLAYER_NAMES[int(rng.integers(len(PLAYER_NAMES)))]
        _draw_text(layer, (4, top + line * 9 - 1), f"<{name}> {make_chat_line(rng)}", (255, 255, 255, 255))


def _draw_debug_screen(layer: Image.Image, rng: Rng) -> None:
    x, y, z = rng.uniform(-9000, 9000, 3)
    lines = (
        "Minecraft 1.20.4 (vanilla)", f"{rng.integers(30, 240)} fps T: 120 vsync fancy", "",
        f"XYZ: {x:.3f} / {y / 90:.5f} / {z:.3f}",
        f"Block: {x:.0f} {y / 90:.0f} {z:.0f}", "Facing: north (Towards negative Z)", f"Client Light: {rng.integers(0, 15)}",
    )  # fmt: skip
    for number, line in enumerate(lines):
        if line:
            layer.alpha_composite(Image.new("RGBA", (len(line) * 5 + 6, 9), (80, 80, 80, 140)), (1, 1 + number * 9))
            _draw_text(layer, (2, number * 9), line, (224, 224, 224, 255))
