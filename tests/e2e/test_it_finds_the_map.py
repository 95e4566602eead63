"""One `/find` with each kind of query: it links the first post and gives the reason, or says "no match"."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import pytest_asyncio
from PIL import Image

from infra.sandbox.art.generate import MAP_PX, draw_original, draw_piece
from infra.sandbox.art.ingame import take_screenshot
from infra.sandbox.art.phone import take_photo
from infra.vision.distortions import encode_jpeg, encode_png, reencode, resize
from tests.support.world import World, art_png, read_headline, read_link, read_words, shared_world

POSTED = (11, 12, 15, 18, 20, 21)
NEVER_POSTED = 9_100
GLASS, NIGHT = 15, 20
"""Pieces of 3x2 maps: stained glass, and a town at night."""

TIME_LIMIT_S = 20
"""For one search on a busy machine. The benchmarks measure how long it really takes."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def links(mapseek: World) -> dict[int, str]:
    """Post a few pieces of several kinds and sizes; return the link to each post by its seed."""
    links = {seed: (await mapseek.discord.post((f"{seed}.png", art_png(seed)))).jump_url for seed in POSTED}
    await mapseek.archived(len(links), timeout=60)
    return links


@pytest_asyncio.fixture(loop_scope="module")
async def archive(mapseek: World, links: dict[int, str]) -> tuple[World, dict[int, str]]:
    """The shared archive, with a new member for each test. Tests only search in it."""
    discord = mapseek.discord
    fresh = replace(discord, alex=discord.simulator.add_member(discord.guild, "Alex"))
    return World(fresh, mapseek.process, mapseek.settings), links


def make_rng() -> np.random.Generator:
    return np.random.default_rng(7)


def crop_panel(image: Image.Image, row: int, column: int) -> Image.Image:
    """Return one map of a piece; row and column count from 1."""
    left, top = (column - 1) * MAP_PX, (row - 1) * MAP_PX
    return image.crop((left, top, left + MAP_PX, top + MAP_PX))


QUERIES: dict[str, tuple[int, Callable[[Image.Image], bytes], str]] = {
    "a file, re-encoded and resized": (11, lambda image: encode_jpeg(resize(reencode(image, 40), 0.6), 60), ""),
    "a screenshot in the game": (
        NIGHT,
        lambda image: encode_jpeg(take_screenshot(image, make_rng(), 2).image, 90),
        "matching points",
    ),
    "a phone photo of a monitor": (GLASS, lambda image: encode_jpeg(take_photo(image, make_rng(), 2).image, 70), "matching points"),
    "a crop": (18, lambda image: encode_png(image.crop((image.width // 4, image.height // 4, image.width, image.height))), ""),
    "one panel": (GLASS, lambda image: encode_png(crop_panel(image, 2, 3)), "row 2, column 3 of 3x2 maps"),
    "the original art": (12, lambda image: encode_jpeg(draw_original(12), 80), ""),
    "turned": (NIGHT, lambda image: encode_png(image.transpose(Image.Transpose.ROTATE_270)), "turned by 90 degrees"),
    "mirrored": (NIGHT, lambda image: encode_png(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)), "mirrored"),
}


@shared_world
@pytest.mark.timeout(240)
async def test_every_kind_of_query_finds_the_first_post_and_says_why(archive: tuple[World, dict[int, str]]) -> None:
    world, links = archive
    for kind, (seed, asked, reason) in QUERIES.items():
        answer = await world.discord.simulator.answer(
            await world.discord.ask(asked(draw_piece(seed))), embedded=True, timeout=TIME_LIMIT_S
        )
        assert read_link(answer) == links[seed], (kind, read_words(answer))
        assert read_headline(answer).startswith("Found it"), (kind, read_headline(answer))
        assert reason in read_words(answer), (kind, read_words(answer))


@shared_world
async def test_a_piece_that_was_never_posted_has_no_match_in_any_form(archive: tuple[World, dict[int, str]]) -> None:
    world, _ = archive
    never = draw_piece(NEVER_POSTED)
    for asked in (
        encode_png(never),
        encode_jpeg(take_screenshot(never, make_rng(), 2).image, 90),
        encode_jpeg(take_photo(never, make_rng(), 2).image, 70),
    ):
        answer = await world.discord.simulator.answer(await world.discord.ask(asked), embedded=True, timeout=TIME_LIMIT_S)
        assert read_link(answer) is None, read_words(answer)


def make_noise(width: int, height: int) -> bytes:
    return encode_png(Image.fromarray(make_rng().integers(0, 256, (height, width, 3), dtype=np.uint8)))


HOSTILE_QUERIES: dict[str, Callable[[], bytes]] = {
    "blank": lambda: encode_png(Image.new("RGB", (800, 600), "white")),
    "one colour": lambda: encode_png(Image.new("RGB", (128, 128), (90, 20, 200))),
    "noise": lambda: make_noise(640, 480),
    "thousands of keypoints": lambda: encode_png(
        Image.fromarray(make_rng().integers(0, 2, (270, 480), dtype=np.uint8) * 255).resize((1920, 1080), Image.Resampling.NEAREST)
    ),
    "tiny": lambda: make_noise(10, 10),
    "a line": lambda: make_noise(1, 5_000),
    "huge": lambda: encode_png(Image.new("RGB", (12_000, 12_000), "white")),
}


@shared_world
async def test_hostile_queries_are_answered_in_time(archive: tuple[World, dict[int, str]]) -> None:
    world, _ = archive
    for kind, asked in HOSTILE_QUERIES.items():
        answer = await world.discord.simulator.answer(await world.discord.ask(asked()), embedded=True, timeout=TIME_LIMIT_S)
        assert read_link(answer) is None, (kind, read_words(answer))
        assert read_headline(answer), kind
        assert kind != "huge" or "too many pixels" in read_words(answer)
