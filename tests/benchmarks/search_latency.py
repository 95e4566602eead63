"""Measure how long an asker waits from the command to the answer, alone and while thousands of images wait in the archive lane.

Everything except Discord is real: the simulator on loopback, the gateway, the log and all stages, in one process. Searches run one
after the other. A second table shows where the time goes, from the times at which the facts of each search were recorded.
"""

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
from nats.aio.client import Client
from rich.console import Console
from rich.table import Table

from contracts.events import (
    SearchAnswered,
    SearchDownloaded,
    SearchEmbedded,
    SearchFingerprinted,
    SearchMatched,
    SearchPreprocessed,
    SearchRequested,
)
from contracts.subjects import SEARCHES
from infra.clip.loading import Tower, load_tower
from infra.nats.reader import decode_or_warn, follow_log
from infra.sandbox.simulator import Channel, Member, Simulator
from pipeline.engine.job import Runtime
from pipeline.engine.registry import STAGES
from pipeline.process import open_log_server, open_process
from stages import embed
from tests.benchmarks.archive import count_succeeded, draw_picture, make_settings, post_pictures, store_pictures, wait_until_done
from tests.benchmarks.pipeline_clip import open_loaded_encoder, open_picture

FIRST_QUERY_SEED = 1_000_000
ANSWER_TIMEOUT_S = 60.0
WAY = [SearchRequested, SearchDownloaded, SearchPreprocessed, SearchFingerprinted, SearchEmbedded, SearchMatched, SearchAnswered]
PARTS = ["asked to requested", "download", "preprocess", "fingerprint", "embed", "match", "reply"]

Pause = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Searches:
    """The measured searches: milliseconds from the command to the answer, and of each part of the way (n, 7)."""

    total: np.ndarray
    parts: np.ndarray

    def percentile(self, rank: float) -> float:
        """Return a percentile of the milliseconds from the command to the answer."""
        return float(np.percentile(self.total, rank))


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of one model. `batches` are the seconds of a full batch on the model alone: before, between and after the
    searches.
    """

    alone: Searches
    loaded: Searches
    batches: Sequence[float]
    waiting: tuple[int, int]

    @property
    def batch_ms(self) -> float:
        return float(np.median(self.batches)) * 1000

    @property
    def allowed_ms(self) -> float:
        """Return the target for the 95th percentile under load."""
        return 2 * self.alone.percentile(50) + self.batch_ms


async def lift_quotas(discord: Simulator, channel: Channel, owner: Member) -> None:
    """Raise the quotas, since one member makes more searches than the default allows."""
    quotas = {"per-member": 600, "per-server": 6000, "at-once": 20}
    await discord.answer(await discord.slash(channel, owner, "archive settings", options=quotas))


async def ask_all(
    discord: Simulator, channel: Channel, member: Member, client: Client, seeds: Sequence[int], pause: Pause
) -> Searches:
    """Search for the pictures of these seeds, one after the other, each after a pause."""
    started: dict[str, float] = {}
    total = []
    for seed in seeds:
        file = await asyncio.to_thread(draw_picture, seed)
        await pause()
        asked = time.time()
        interaction = await discord.slash(channel, member, "find", attachments={"image": ("question.png", file)})
        answer = await discord.answer(interaction, embedded=True, timeout=ANSWER_TIMEOUT_S)
        started[str(interaction.id)] = asked
        total.append(answer.answered_after_s * 1000)
    return Searches(np.array(total), await _read_parts(client, started))


async def no_pause() -> None:
    """Do not wait."""


def wait_until_busy(runtime: Runtime, images: int, more: int, batch_s: float) -> Pause:
    """Return a pause that waits until `more` images are embedded, so that the archive lane runs at full speed, then a random part
    of a batch.
    """
    moments = np.random.default_rng(0)

    async def pause() -> None:
        target = count_succeeded(runtime, embed.STAGE.name) + more
        if target > images:
            raise RuntimeError("the archive lane was empty before the last search: let more images wait")
        await wait_until_done(runtime, embed.STAGE.name, target)
        await asyncio.sleep(moments.uniform(0, batch_s))

    return pause


async def _read_parts(client: Client, started: dict[str, float]) -> np.ndarray:
    """Return the milliseconds between the facts of each search, starting with the command itself."""
    recorded: dict[str, dict[type, float]] = {search_id: {} for search_id in started}
    answered = 0
    async for message in follow_log(client, SEARCHES, ["mapseek.search.>"]):
        entry = decode_or_warn(message)
        if entry is None or (search_id := entry.fact.key[1]) not in recorded:
            continue
        recorded[search_id][type(entry.fact)] = datetime.fromisoformat((message.headers or {})["ce-time"]).timestamp()
        answered += isinstance(entry.fact, SearchAnswered)
        if answered == len(started):
            break
    return np.array([np.diff([started[each], *(facts[kind] for kind in WAY)]) for each, facts in recorded.items()]) * 1000


async def measure_batch_s(tower: Tower, size: int) -> float:
    """Return the seconds that the model alone takes for a full batch of prepared pictures: the better of two runs."""
    prepared = [tower.prepare(open_picture(seed)) for seed in range(size)]

    async def once() -> float:
        started = time.perf_counter()
        await asyncio.to_thread(tower.vectors, prepared)
        return time.perf_counter() - started

    return min(await once(), await once())


async def measure(model: str, searches_each: int, images: int) -> Figures:
    """Search alone, fill the archive lane, and search again."""
    with tempfile.TemporaryDirectory() as folder:
        async with Simulator() as discord:
            guild = discord.add_guild("Benchmark")
            channel, member = discord.add_text_channel(guild, "maps"), discord.add_member(guild, "Alex")
            settings = make_settings(
                Path(folder),
                model=model,
                discord_token=discord.token,
                discord_api=discord.api_base,
                cdn_origins=discord.cdn_origin,
                channels="all",
            )
            tower = await asyncio.to_thread(load_tower, model, None, device=settings.device, precision=settings.precision)
            encoder = open_loaded_encoder(tower, settings)
            async with (
                open_log_server(settings) as address,
                open_process(settings, address, STAGES, with_gateway=True, encoders=[encoder]) as process,
            ):
                await discord.wait_for_command("find")
                await lift_quotas(discord, channel, guild.members[guild.owner_id])
                names = await store_pictures(await process.container.blobs(), range(images))
                client, journal = process.container.client, process.container.journal

                async def asked(first: int, count: int, pause: Pause) -> Searches:
                    return await ask_all(discord, channel, member, client, range(first, first + count), pause)

                await asked(FIRST_QUERY_SEED, 3, no_pause)
                batches = [await measure_batch_s(tower, settings.batch_size)]
                alone = await asked(FIRST_QUERY_SEED + 100, searches_each, no_pause)
                batches.append(await measure_batch_s(tower, settings.batch_size))
                await post_pictures(journal, names, guild_id=str(guild.id), channel_id=str(channel.id))
                busy = wait_until_busy(process.runtime, images, images // searches_each // 4, batches[-1])
                before = images - count_succeeded(process.runtime, embed.STAGE.name)
                loaded = await asked(FIRST_QUERY_SEED + 200, searches_each, busy)
                after = images - count_succeeded(process.runtime, embed.STAGE.name)
            await encoder.close()
            batches.append(await measure_batch_s(tower, settings.batch_size))
    return Figures(alone, loaded, batches, (before, after))


def main(quick: bool = False) -> None:
    """Measure and print."""
    searches_each, images = (5, 200) if quick else (40, 2_000)
    console = Console()
    for model in ("mapseek-untrained",) if quick else ("mapseek-untrained", "ViT-B-32"):
        figures = asyncio.run(measure(model, searches_each, images))
        console.print(_render_latencies(model, figures, searches_each, images))
        console.print(_render_parts(figures))


def _render_latencies(model: str, figures: Figures, searches_each: int, images: int) -> Table:
    table = Table(title=f"/find with {model}: {searches_each} searches alone, and {searches_each} while {images:,} images wait")
    for column in ("ms from command to answer", "p50", "p95", "longest"):
        table.add_column(column, justify="left" if "ms" in column else "right")
    for name, searches in (("alone", figures.alone), ("under load", figures.loaded)):
        table.add_row(name, *(f"{searches.percentile(rank):.0f}" for rank in (50, 95, 100)))
    before, after = figures.waiting
    verdict = "kept" if figures.loaded.percentile(95) <= figures.allowed_ms else "missed"
    table.caption = (
        f"One model batch: {figures.batch_ms:.0f} ms. Target for p95 under load, 2 x p50 alone + one batch: "
        f"{figures.allowed_ms:.0f} ms, {verdict}. Images not embedded yet: {before:,} at the first search, {after:,} at the last."
    )
    return table


def _render_parts(figures: Figures) -> Table:
    table = Table(title="Where the time goes, p50 / p95 ms")
    for column in ("", *PARTS):
        table.add_column(column, justify="right" if column else "left")
    for name, searches in (("alone", figures.alone), ("under load", figures.loaded)):
        cells = np.percentile(searches.parts, [50, 95], axis=0).T
        table.add_row(name, *(f"{p50:.0f} / {p95:.0f}" for p50, p95 in cells))
    return table
