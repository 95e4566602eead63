"""`mapseek audit` finds every planted gap, and the commands that it prints close them."""

import io
import os
import re
import shlex
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import orjson
import pytest
from rich.console import Console

from contracts.events import ImageDownloaded, ImageEmbedded, ImagePreprocessed, ImageRemoved
from contracts.subjects import IMAGES, build_subject
from pipeline.audit.command import show_audit
from pipeline.engine.registry import STAGES
from pipeline.process import open_log_server, open_process
from pipeline.projections.vectors import VectorProjection
from tests.support.archives import ERASE_AT_ONCE, PictureHistory, list_file_ids
from tests.support.programs import EndedProgram, run_to_end
from tests.support.world import Discord, World, mapseek_beside


@asynccontextmanager
async def open_without_gateway(discord: Discord, folder: Path) -> AsyncIterator[World]:
    """Run every stage, without a gateway."""
    settings = discord.settings(folder)
    async with open_log_server(settings) as address, open_process(settings, address, STAGES, policy=ERASE_AT_ONCE) as process:
        yield World(discord, process, settings)


async def run_mapseek(world: World, *arguments: str) -> EndedProgram:
    found = await run_to_end(*arguments, environment=world.discord.environment(world.settings.data_dir, COLUMNS="100"))
    assert "Traceback" not in found.err, found.err
    return found


async def run_audit(world: World) -> dict[str, dict[str, object]]:
    """Run `mapseek audit --json` and return the gaps by kind."""
    found = await run_mapseek(world, "audit", "--json")
    report = orjson.loads(found.out)
    assert found.code == (0 if report["clean"] else 1), found.err
    assert report["clean"] == (not report["gaps"])
    return {gap["kind"]: gap for gap in report["gaps"]}


async def audit_in_process(world: World) -> dict[str, dict[str, object]]:
    """Return the gaps by kind, from an audit in this process."""
    out, err = Console(file=io.StringIO()), Console(file=io.StringIO())
    options: dict[str, Any] = {"guild": None, "use_discord": True, "whole": False, "json": True, "out": out, "err": err}
    await show_audit(world.settings, **options)
    report = orjson.loads(out.file.getvalue())  # type: ignore[attr-defined]
    return {gap["kind"]: gap for gap in report["gaps"]}


async def wait_until_settled(world: World) -> None:
    for family in ("removal", "image", "alert", "image"):
        await world.log.wait_until_idle(family)


async def close_gaps(world: World) -> str:
    """Run `mapseek audit` and the commands that it prints; return its output."""
    found = await run_mapseek(world, "audit")
    assert found.code == 1, found.out
    commands = re.findall(r"^ +mapseek (.+)$", found.out, re.MULTILINE)
    assert commands, found.out
    for command in commands:
        result = await run_mapseek(world, *shlex.split(command))
        assert result.code == 0, (command, result.err, result.out)
        await wait_until_settled(world)
    return found.out


def change_catalogue(world: World, statement: str, image_id: str) -> None:
    with closing(sqlite3.connect(world.settings.data_dir / "catalogue.sqlite")) as database:
        assert database.execute(statement, (image_id,)).rowcount == 1
        database.commit()


def blob_path(world: World, name: str) -> Path:
    return world.settings.data_dir / "blobs" / name[:2] / name[2:4] / name


async def test_a_few_planted_gaps_are_found_and_closed(discord: Discord, tmp_path: Path) -> None:
    """One gap on Discord, one in the catalogue, one among the blobs."""
    past = PictureHistory(discord)
    async with mapseek_beside(discord, tmp_path, policy=ERASE_AT_ONCE) as world:
        [image, _] = list_file_ids(await past.post(discord.gallery, 2))
        await world.archived(2)
    missed = await past.post(discord.gallery)
    async with open_without_gateway(discord, tmp_path) as world:
        change_catalogue(world, "DELETE FROM images WHERE image_id = ?", image)
        originals = {fact.image_id: fact.blob for fact in await world.log.facts(ImageDownloaded)}
        blob_path(world, originals[image]).unlink()
        gaps = await audit_in_process(world)
        assert {kind: gap["found"] for kind, gap in gaps.items()} == {
            "not-posted": list_file_ids(missed),
            "no-document": [image],
            "blob-lost-download": [image],
        }
        await close_gaps(world)
        assert await audit_in_process(world) == {}
        assert sorted(entry.image_id for entry in (await world.entries()).values()) == list_file_ids(past.there)


@pytest.mark.slow
async def test_every_planted_gap_is_found_and_closed(discord: Discord, tmp_path: Path) -> None:
    past = PictureHistory(discord)
    async with mapseek_beside(discord, tmp_path, policy=ERASE_AT_ONCE) as world:
        await past.post(discord.gallery, 8)
        await world.archived(8)
        assert await run_audit(world) == {}
    deleted, *there = past.there
    await discord.simulator.delete(deleted)
    past.forget(deleted)
    missed = await past.post(discord.gallery, pictures=2)
    images = list_file_ids(there)

    async with open_without_gateway(discord, tmp_path) as world:
        await wait_until_settled(world)
        gaps = await run_audit(world)
        assert {kind: sorted(gap["found"]) for kind, gap in gaps.items()} == {  # type: ignore[call-overload]
            "not-posted": list_file_ids(missed),
            "gone": list_file_ids([deleted]),
        }

        guild = str(discord.guild.id)
        js = world.process.container.client.jetstream()
        await js.purge_stream(IMAGES, subject=build_subject(ImageEmbedded, guild, images[0], "g1"))
        change_catalogue(world, "DELETE FROM embeddings WHERE image_id = ?", images[1])
        change_catalogue(world, "DELETE FROM images WHERE image_id = ?", images[2])
        originals = {fact.image_id: fact.blob for fact in await world.log.facts(ImageDownloaded)}
        pictures = {fact.image_id: fact for fact in await world.log.facts(ImagePreprocessed)}
        blob_path(world, originals[images[3]]).unlink()
        blob_path(world, pictures[images[4]].thumbnail).write_bytes(b"damaged")
        blob_path(world, pictures[images[5]].pixels).unlink()
        orphan = await (await world.process.container.blobs()).put(b"nobody needs this")
        an_hour_ago = time.time() - 3600
        os.utime(blob_path(world, orphan), (an_hour_ago, an_hour_ago))

        gaps = await run_audit(world)
        assert gaps.pop("index-differs")["of"] == "process", "the index has what was purged from the log"
        assert {kind: sorted(gap["found"]) for kind, gap in gaps.items()} == {  # type: ignore[call-overload]
            "not-posted": list_file_ids(missed),
            "gone": list_file_ids([deleted]),
            "not-embedded": [images[0]],
            "no-vector": [images[1]],
            "no-document": [images[2]],
            "blob-lost-download": [images[3]],
            "blob-lost-preprocess": [images[4], images[5]],
            "blob-orphan": [orphan],
        }
        await close_gaps(world)
        assert await run_audit(world) == {}
        assert sorted(entry.image_id for entry in (await world.entries()).values()) == list_file_ids([*there, *missed])


async def test_gaps_of_the_index_and_of_removed_images_are_found_and_closed(discord: Discord, tmp_path: Path) -> None:
    past = PictureHistory(discord)
    async with mapseek_beside(discord, tmp_path, policy=ERASE_AT_ONCE) as world:
        first, second, third = await past.post(discord.gallery, 3)
        await world.archived(3)
        await discord.simulator.delete(first)
        await world.log.wait_for(ImageRemoved, 1)
        await wait_until_settled(world)
        index = await world.process.container.vectors()
        assert isinstance(index, VectorProjection)
        [image], [removed], [kept] = list_file_ids([second]), list_file_ids([first]), list_file_ids([third])
        for shard in index.index.shards.values():
            shard.remove(image)
        change_catalogue(world, "INSERT INTO images (image_id, document) VALUES (?, '{}')", removed)
        change_catalogue(world, "UPDATE images SET document = json_remove(document, '$.media') WHERE image_id = ?", kept)
        gaps = await run_audit(world)
        assert {kind: gap["found"] for kind, gap in gaps.items() if kind != "index-differs"} == {
            "removed-catalogued": [removed],
            "incomplete-document": [kept],
        }
        assert gaps["index-differs"]["commands"] == ["mapseek rebuild index"]
        await close_gaps(world)
        assert await run_audit(world) == {}


async def test_without_a_token_the_audit_says_that_it_leaves_out_discord(discord: Discord, tmp_path: Path) -> None:
    async with mapseek_beside(discord, tmp_path) as world:
        await PictureHistory(discord).post(discord.gallery)
        await world.archived(1)
        for arguments, environment in ((("audit",), {"DISCORD_TOKEN": ""}), (("audit", "--no-discord"), {})):
            found = await run_to_end(*arguments, environment=discord.environment(tmp_path, **environment))
            assert (found.code, found.err) == (0, "")
            assert "Discord was not audited" in found.out
            assert "Clean: everything is where it should be." in found.out


async def test_a_wrong_token_or_channel_gives_a_one_sentence_error(discord: Discord, tmp_path: Path) -> None:
    async with mapseek_beside(discord, tmp_path) as world:
        await PictureHistory(discord).post(discord.gallery)
        await world.archived(1)
        for arguments, environment, words in (
            (("audit",), {"DISCORD_TOKEN": "wrong"}, "Discord refused the bot token"),
            (("sync", "--channel", "123"), {}, "There is no channel 123 in the log"),
            (("sync", "--channel", str(discord.gallery.id)), {"DISCORD_TOKEN": ""}, "DISCORD_TOKEN is not set"),
        ):
            found = await run_to_end(*arguments, environment=discord.environment(tmp_path, **environment))
            assert found.code == 1
            assert words in found.err
            assert "Traceback" not in found.err
        for arguments in (("audit", "--guild", "7.>"), ("sync", "--channel", "gallery")):
            assert (await run_mapseek(world, *arguments)).code == 2
        assert (await run_mapseek(world, "audit", "--guild", "local")).code == 0, "no guild of Discord's"
    nothing = await run_to_end("audit", environment=discord.environment(tmp_path / "empty"))
    assert (nothing.code, f"There is no archive in {tmp_path / 'empty'} yet" in nothing.err) == (1, True)
