"""The scenes of the README's pictures: members use the real bot with the shipped model on the simulated Discord."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import numpy as np

from contracts.events import AlertSet, ImageFingerprinted, ImageIndexed
from infra.discord.archive import backfill
from infra.discord.wording import localize
from infra.sandbox.art.generate import draw_piece
from infra.sandbox.art.ingame import take_screenshot
from infra.sandbox.simulator import Channel, Guild, Interaction, Member, Permission, Simulator, VisibleAnswer
from infra.vision.distortions import encode_jpeg, encode_png, reencode, resize
from pipeline.demo.message_html import Reader
from pipeline.engine.registry import STAGES
from pipeline.process import Process, open_log_server, open_process
from pipeline.settings import Settings
from tests.support.archives import hold_history
from tests.support.world import Log

WANTED_PIECE = 98
"""The seed of the piece that Noor searches for."""
OTHER_PIECES = tuple(range(1, 13))
UNPOSTED = (124, 190, 156)
"""Seeds of pieces that nobody posts: Noor sets an alert for each."""
OLDER_POSTS = 500
BETWEEN_OLDER_POSTS = timedelta(days=3)
FIRST_POST = datetime(2024, 3, 2, 18, 20, tzinfo=UTC)
PAGES_READ = 3
"""History pages, of 100 messages, that are archived when the progress message is drawn."""


@dataclass(frozen=True, slots=True)
class Scene:
    """The messages of one picture, and who reads them."""

    name: str
    seen: Sequence[VisibleAnswer]
    reader: Reader


@dataclass(frozen=True, slots=True)
class Place:
    """The simulated server and its people."""

    discord: Simulator
    guild: Guild
    gallery: Channel
    commissions: Channel
    old: Channel
    alex: Member
    steve: Member
    noor: Member
    mia: Member
    """A manager."""

    def build_reader(self, language: Literal["en", "de"] = "en") -> Reader:
        channels = (self.gallery, self.commissions, self.old)
        names = {str(channel.id): channel.name for channel in channels}
        return Reader(names, language, datetime.now(UTC))

    async def find(self, picture: bytes, locale: str = "en-US") -> VisibleAnswer:
        """Noor searches with /find; only she sees the answer, in her language."""
        interaction = await self.discord.slash(
            self.gallery,
            self.noor,
            "find",
            attachments={"image": ("screenshot.jpeg", picture)},
            options={"private": True},
            locale=locale,
        )
        return await self.discord.answer(interaction, embedded=True)

    async def press(self, answer: VisibleAnswer, label: str) -> VisibleAnswer:
        return await self.discord.answer(await self.discord.press(answer, self.noor, label=label))


async def play_scenes(folder: Path) -> AsyncIterator[Scene]:
    """Play every scene, with data in `folder`."""
    async with _run_mapseek(folder) as (place, process):
        log = Log(process.container.client)
        await _post_all(place, log)
        for scene in await _show_answers(place):
            yield scene
        for scene in await _show_alerts(place, log):
            yield scene
        for scene in await _show_older_posts(place):
            yield scene


@asynccontextmanager
async def _run_mapseek(folder: Path) -> AsyncIterator[tuple[Place, Process]]:
    async with Simulator() as discord:
        place = _build_place(discord)
        await _post_older(place)
        settings = Settings(
            _env_file=None,
            data_dir=folder,
            nats_url=None,
            discord_token=discord.token,
            discord_api=discord.api_base,
            cdn_origins=discord.cdn_origin,
            channels="all",
            http_port=0,
        )
        async with open_log_server(settings) as address, open_process(settings, address, STAGES, with_gateway=True) as process:
            await discord.wait_for_command("find")
            yield place, process


def _build_place(discord: Simulator) -> Place:
    guild = discord.add_guild("Cartographers' Guild")
    managers = discord.add_role(guild, "managers", Permission.MANAGE_GUILD)
    now, discord.now = discord.now, lambda: datetime.now(UTC) - (OLDER_POSTS + 2) * BETWEEN_OLDER_POSTS
    old = discord.add_text_channel(guild, "map-archive")
    discord.now = now
    gallery, commissions = (discord.add_text_channel(guild, name) for name in ("map-gallery", "commissions"))
    alex, steve, noor = (discord.add_member(guild, name) for name in ("Alex", "Steve", "Noor"))
    return Place(discord, guild, gallery, commissions, old, alex, steve, noor, discord.add_member(guild, "Mia", [managers]))


async def _post_older(place: Place) -> None:
    """Post messages before MapSeek starts, so that they are not archived."""
    pictures = await asyncio.to_thread(lambda: [encode_png(draw_piece(number).resize((32, 32))) for number in range(1_000, 1_060)])
    for number in range(OLDER_POSTS):
        files = [(f"map-{number}.png", pictures[number % len(pictures)])] if number % 3 == 0 else []
        at = datetime.now(UTC) - (OLDER_POSTS - number) * BETWEEN_OLDER_POSTS
        await place.discord.post(place.old, place.steve, "a map", files=files, at=at)


async def _post_all(place: Place, log: Log) -> None:
    """Post the wanted piece, a worse copy of it, and other pieces; wait until all can be found."""
    others = await asyncio.to_thread(lambda: list(map(_encode_piece, OTHER_PIECES)))
    for seed, file in zip(OTHER_PIECES, others, strict=True):
        at = FIRST_POST + timedelta(days=9 * seed, hours=seed)
        await place.discord.post(place.gallery, place.steve, files=[(f"map-art-{seed}.png", file)], at=at)
    wanted = draw_piece(WANTED_PIECE)
    await place.discord.post(place.gallery, place.alex, files=[("night-skyline.png", encode_png(wanted))], at=FIRST_POST)
    copy = FIRST_POST + timedelta(days=400)
    await place.discord.post(
        place.commissions, place.steve, files=[("who-made-this.jpeg", encode_jpeg(reencode(resize(wanted, 0.6), 40), 40))], at=copy
    )
    for kind in (ImageIndexed, ImageFingerprinted):
        await log.wait_for(kind, len(OTHER_PIECES) + 2, timeout=120)


def _take_screenshot() -> bytes:
    return encode_jpeg(take_screenshot(draw_piece(WANTED_PIECE), np.random.default_rng(3), 1).image, 90)


async def _show_answers(place: Place) -> list[Scene]:
    picture = await asyncio.to_thread(_take_screenshot)
    english, german = await place.find(picture), await place.find(picture, "de")
    nothing = await asyncio.to_thread(_encode_piece, UNPOSTED[0])
    return [
        Scene("answer", [english], place.build_reader()),
        Scene("answer-de", [german], place.build_reader("de")),
        Scene("why", [await place.press(english, localize("en", "answers-button-why"))], place.build_reader()),
        Scene("no-match", [await place.find(nothing)], place.build_reader()),
        Scene("posts", [await place.press(english, localize("en", "answers-button-posts", count=2))], place.build_reader()),
    ]


def _encode_piece(seed: int) -> bytes:
    return encode_png(draw_piece(seed))


async def _show_alerts(place: Place, log: Log) -> list[Scene]:
    for seed in UNPOSTED:
        nothing = await place.find(await asyncio.to_thread(_encode_piece, seed))
        await place.press(nothing, localize("en", "answers-button-alert"))
    await log.wait_for(AlertSet, len(UNPOSTED))
    interaction = await place.discord.slash(place.gallery, place.noor, "alerts")
    return [Scene("alerts", [await place.discord.answer(interaction, embedded=True)], place.build_reader())]


async def _show_older_posts(place: Place) -> list[Scene]:
    """Archive older posts, stop the history after some pages, and look at the progress message and the status."""
    backfill.PROGRESS_INTERVAL_S = 0.0
    held = hold_history(place.discord, place.old, after_pages=PAGES_READ)
    interaction = await place.discord.slash(place.gallery, place.mia, "archive backfill", options={"channel": place.old})
    await held.arrived.wait()
    progress = await _wait_for_progress(place, interaction)
    status = await place.discord.slash(place.gallery, place.mia, "archive status")
    seen = await place.discord.answer(status, embedded=True)
    held.released.set()
    return [Scene("backfill", [progress], place.build_reader()), Scene("status", [seen], place.build_reader())]


async def _wait_for_progress(place: Place, interaction: Interaction) -> VisibleAnswer:
    """Return the answer once it counts every page that was read."""
    counted = f"{PAGES_READ * 100} messages read"
    await place.discord.until(lambda: counted in str(interaction.original and interaction.original.embeds), timeout=30)
    return await place.discord.answer(interaction, embedded=True)
