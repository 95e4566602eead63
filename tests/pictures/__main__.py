"""`make pictures`: draw the pictures of the README, docs/images, from what the bot sends to the simulated Discord.

Each message is drawn in Discord's light theme (`answer.png`) and in its dark theme (`answer-dark.png`) by headless Chromium.
"""

import asyncio
import io
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import numpy as np
import typer
from PIL import Image

from pipeline.logging import configure_logging
from tests.pictures.look import THEMES, render_page
from tests.pictures.scenes import play_scenes

IMAGES_FOLDER = Path(__file__).parents[2] / "docs/images"
BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "chrome")
WIDTH_PX, HEIGHT_PX, SCALE = 620, 1600, 2
"""The window, in CSS pixels, and the picture's pixels for each CSS pixel. The empty space around the message is cut off."""
MARGIN_PX = 18
"""CSS pixels that stay empty below and beside the message."""
MAX_COLOURS = 256
"""A palette makes a picture a third as large."""


def main(
    out: Annotated[Path, typer.Option(help="The folder that the pictures are written to.")] = IMAGES_FOLDER,
    only: Annotated[str, typer.Option(help="Names of pictures, separated by commas; default: all.")] = "",
    chromium: Annotated[str, typer.Option(help="The browser; default: the first Chromium on the PATH.")] = "",
) -> None:
    """Draw the pictures of docs/images."""
    browser = shutil.which(chromium) if chromium else next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        sys.exit(
            "There is no Chromium: install it (on Debian: apt-get install chromium-headless-shell) or name it with --chromium."
        )
    configure_logging("auto", "WARNING")
    out.mkdir(parents=True, exist_ok=True)
    asyncio.run(_draw_all(out, frozenset(filter(None, only.split(","))), browser))


async def _draw_all(out: Path, only: frozenset[str], browser: str) -> None:
    with TemporaryDirectory() as folder:
        async for scene in play_scenes(Path(folder) / "data"):
            if only and scene.name not in only:
                continue
            for theme in THEMES:
                html = Path(folder) / f"{scene.name}-{theme}.html"
                html.write_text(render_page(scene.seen, scene.reader, theme), encoding="utf-8")
                file = out / (f"{scene.name}.png" if theme == "light" else f"{scene.name}-{theme}.png")
                file.write_bytes(await asyncio.to_thread(_draw, html, browser))
                print(f"{file.name}: {file.stat().st_size / 1000:.0f} KB", flush=True)


def _draw(html: Path, browser: str) -> bytes:
    """Return the page as a PNG."""
    shot = html.with_suffix(".png")
    options = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--force-device-scale-factor={SCALE}")
    size = f"--window-size={WIDTH_PX},{HEIGHT_PX}"
    command = [browser, *options, size, f"--screenshot={shot}", html.as_uri()]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    return crop_and_encode(Image.open(shot).convert("RGB"))


def crop_and_encode(picture: Image.Image) -> bytes:
    """Cut off the empty space below and beside the message, and return a PNG with a palette. The last pixel must be empty."""
    pixels = np.asarray(picture)
    drawn = (pixels != pixels[-1, -1]).any(axis=2)
    rows, columns = np.flatnonzero(drawn.any(axis=1)), np.flatnonzero(drawn.any(axis=0))
    if not rows.size:
        raise ValueError("the page is empty")
    margin = MARGIN_PX * SCALE
    bottom, right = min(rows[-1] + 1 + margin, picture.height), min(columns[-1] + 1 + margin, picture.width)
    buffer = io.BytesIO()
    picture.crop((0, 0, int(right), int(bottom))).quantize(MAX_COLOURS, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


if __name__ == "__main__":
    typer.run(main)
