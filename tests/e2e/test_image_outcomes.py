"""Every posted image is either catalogued or rejected with a reason that the catalogue shows."""

import struct
import zlib
from pathlib import Path

import pytest

from contracts.errors import RejectCode
from contracts.events import (
    ImageDownloaded,
    ImageEmbedded,
    ImageFingerprinted,
    ImageIndexed,
    ImagePosted,
    ImagePreprocessed,
    ImageRejected,
)
from infra.sandbox.simulator import CDN_PATHS, Drip, Redirect, Status
from pipeline.engine.registry import STAGES
from tests.support.files import png_chunk, raw_png
from tests.support.world import Discord, World, art_png, mapseek_beside

FACT_CHAIN = (ImagePosted, ImageDownloaded, ImagePreprocessed, ImageFingerprinted, ImageEmbedded, ImageIndexed)


async def list_rejections(world: World) -> dict[str, tuple[str, str]]:
    """Return stage and code of each rejection by file name, and check that the catalogue agrees with the log."""
    names = {fact.image_id: fact.filename for fact in await world.log.facts(ImagePosted)}
    told = {names[fact.image_id]: fact for fact in await world.log.facts(ImageRejected)}
    entries = await world.entries()
    for name, fact in told.items():
        assert entries[name].document["rejection"] == {"stage": fact.stage, "code": fact.code.value, "reason": fact.reason}
        assert fact.reason.endswith(".")
    return {name: (fact.stage, fact.code.value) for name, fact in told.items()}


async def test_all_eleven_images_of_a_message_are_archived(world: World) -> None:
    message = await world.discord.post(*((f"map-{number}.png", art_png(number)) for number in range(11)))
    await world.archived(11)
    entries = await world.entries()
    assert set(entries) == {f"map-{number}.png" for number in range(11)}
    assert sorted(await world.indexed()) == sorted(str(file.id) for file in message.attachments)
    for name, entry in entries.items():
        metadata = entry.document["metadata"]
        assert entry.document["message_link"] == message.jump_url
        assert entry.document["discord_message_id"] == str(message.id)
        assert metadata["upload_timestamp"] == message.posted_at.isoformat()
        assert (metadata["user_id"], metadata["user_name"]) == (str(world.discord.steve.id), "Steve")
        [file] = [file for file in message.attachments if file.filename == name]
        assert metadata["image_dimensions"] == [entry.document["media"]["width"], entry.document["media"]["height"]]
        assert (metadata["file_size"], metadata["image_dimensions"]) == (len(file.data), [file.width, file.height])


async def test_a_link_that_unfolds_to_an_image_is_archived(world: World) -> None:
    """Discord adds the embed with an edit, some time after the message."""
    hosted = await world.discord.simulator.post(world.discord.gallery, world.discord.alex, files=[("hosted.png", art_png(1))])
    await world.archived(1)
    message = await world.discord.simulator.post(world.discord.gallery, world.discord.steve, "https://example.org/dragon.png")
    url = hosted.attachments[0].url
    embed = {
        "type": "rich",
        "url": "https://example.org/dragon.png",
        "image": {"url": "https://example.org/dragon.png", "proxy_url": url},
    }
    await world.discord.simulator.edit(message, embeds=[embed])
    await world.archived(2)
    assert [each for each in await world.indexed() if each.startswith(f"{message.id}-")]


async def test_a_message_delivered_three_times_is_archived_once(world: World) -> None:
    message = await world.discord.post(("a.png", art_png(1)), ("b.png", art_png(2)))
    await world.archived(2)
    for _ in range(2):
        await world.discord.simulator.redeliver(message)
    await world.discord.post(("after.png", art_png(3)))  # recorded after the two redeliveries
    await world.archived(3)
    for kind in FACT_CHAIN:
        assert await world.log.count(kind) == 3, kind
    assert len(await world.entries()) == 3


async def test_hostile_files_are_rejected_each_with_its_code(world: World) -> None:
    side = 30_000
    bomb = raw_png(side, side, 1, 0, bytes((side // 8 + 1) * 100))
    endless_text = png_chunk(b"zTXt", b"c\0\0" + zlib.compress(bytes(80_000_000)))
    files = {
        "good.png": art_png(1),
        "truncated.png": art_png(2)[: len(art_png(2)) // 2],
        "empty.png": b"",
        "lying.jpg": art_png(3),
        "text.png": b"this is not a picture at all",
        "page.webp": b"<!DOCTYPE html><html></html>",
        "bomb.png": bomb,
        "text-bomb.png": raw_png(1, 1, 8, 2, b"\0\0\0\0", endless_text),
        "header-only.png": b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + b"IHDR",
    }
    await world.discord.post(*files.items())
    await world.archived(len(files))
    assert await list_rejections(world) == {
        "truncated.png": ("preprocess", "damaged"),
        "empty.png": ("download", "empty"),
        "text.png": ("preprocess", "not_an_image"),
        "page.webp": ("preprocess", "not_an_image"),
        "bomb.png": ("preprocess", "too_many_pixels"),
        "text-bomb.png": ("preprocess", "damaged"),
        "header-only.png": ("preprocess", "damaged"),
    }
    entries = await world.entries()
    assert set(entries) == set(files)
    assert entries["lying.jpg"].document["media"]["format"] == "png"
    assert await world.log.count(ImageIndexed) == 2
    assert await world.log.dead_letters() == []


async def test_a_file_that_is_too_large_is_rejected(discord: Discord, tmp_path: Path) -> None:
    async with mapseek_beside(discord, tmp_path, max_file_bytes=1000) as world:
        await discord.post(("large.png", art_png(1)))
        await world.archived(1)
        assert await list_rejections(world) == {"large.png": ("download", "too_large")}


async def test_an_image_off_the_allowlist_is_not_fetched(world: World) -> None:
    urls = [
        "https://example.org/elsewhere.png",
        "http://127.0.0.1:9/attachments/1/2/loopback.png",
        "http://169.254.169.254/latest/metadata.png",
        "https://cdn.discordapp.com.example.org/lookalike.png",
        "https://cdn.discordapp.com@example.org/credentials.png",
        "http://cdn.discordapp.com/unencrypted.png",
    ]
    embeds = [{"type": "rich", "image": {"url": url}} for url in urls]
    await world.discord.simulator.post(world.discord.gallery, world.discord.steve, "look", embeds=embeds)
    await world.archived(len(urls))
    assert await list_rejections(world) == {url.rpartition("/")[2]: ("download", "not_allowed") for url in urls}


async def test_a_redirect_off_the_allowlist_is_not_followed(world: World) -> None:
    world.discord.simulator.faults.add(Redirect("http://127.0.0.1:9/attachments/1/2/x.png"), CDN_PATHS, times=None)
    await world.discord.post(("redirected.png", art_png(1)))
    await world.archived(1)
    assert await list_rejections(world) == {"redirected.png": ("download", "not_allowed")}


@pytest.mark.parametrize("status", [403, 404])
async def test_an_expired_url_is_refreshed_from_its_message(discord: Discord, tmp_path: Path, status: int) -> None:
    """The stages are down for so long that every URL in the log has expired."""
    async with mapseek_beside(discord, tmp_path, stages=()) as world:
        await discord.post(("a.png", art_png(1)), ("b.png", art_png(2)))
        await world.log.wait_for(ImagePosted, 2)
    discord.simulator.expire_urls(status=status)
    async with mapseek_beside(discord, tmp_path) as world:
        await world.archived(2)
        assert await list_rejections(world) == {}
        assert len(await world.indexed()) == 2
    assert discord.simulator.requests["GET /channels/{channel}/messages/{message}"] == 2


async def test_an_image_whose_message_was_deleted_is_gone(discord: Discord, tmp_path: Path) -> None:
    async with mapseek_beside(discord, tmp_path, stages=()) as world:
        message = await discord.post(("deleted.png", art_png(1)))
        await world.log.wait_for(ImagePosted, 1)
    await discord.simulator.delete(message)
    unerased = [stage for stage in STAGES if stage.name not in ("remove", "erase")]  # the bot also notices the deletion
    async with mapseek_beside(discord, tmp_path, stages=unerased) as world:
        await world.archived(1)
        assert await list_rejections(world) == {"deleted.png": ("download", "gone")}


async def test_temporary_errors_of_the_cdn_lose_no_image(world: World) -> None:
    faults = world.discord.simulator.faults
    faults.add(Status(429, retry_after=0.2), "*/limited.png", times=2)
    faults.add(Status(500), "*/failing.png")
    faults.add(Status(503), "*/unavailable.png")
    faults.add(Drip(chunk=2000, interval=0.02), "*/slow.png", times=None)
    faults.add(Status(404), "*/gone.png", times=None)
    # More than the three attempts of one delivery, so that the runner retries.
    faults.add(Status(500, retry_after=0.01), "*/broken.png", times=4)
    names = ["limited.png", "failing.png", "unavailable.png", "slow.png", "gone.png", "broken.png"]
    await world.discord.post(*((name, art_png(seed)) for seed, name in enumerate(names)))
    await world.archived(len(names))
    assert await list_rejections(world) == {"gone.png": ("download", RejectCode.GONE.value)}
    assert await world.log.count(ImageIndexed) == len(names) - 1
    assert await world.log.dead_letters() == []
    files = world.discord.simulator.requests
    assert {name: sum(number for path, number in files.items() if path.endswith(f"/{name}")) for name in names} == {
        "limited.png": 3,
        "failing.png": 2,
        "unavailable.png": 2,
        "slow.png": 1,
        "gone.png": 2,  # the second time with a fresh URL
        "broken.png": 5,
    }


async def test_a_cdn_that_always_fails_ends_in_failures_with_payload_and_reason(discord: Discord, tmp_path: Path) -> None:
    discord.simulator.faults.add(Status(500, retry_after=0.01), CDN_PATHS, times=None)
    async with mapseek_beside(discord, tmp_path) as world:
        await discord.post(("broken.png", art_png(1)))
        [letter] = await world.log.dead_letters(1)
        assert (letter["mapseek-stage"], letter["mapseek-cause"]) == ("download", "exhausted")
        assert "answered 500" in letter["mapseek-reason"]


async def test_channels_that_are_not_watched_are_not_archived(discord: Discord, tmp_path: Path) -> None:
    quiet = discord.simulator.add_text_channel(discord.guild, "off-topic")
    async with mapseek_beside(discord, tmp_path, channels=str(discord.gallery.id)) as world:
        await discord.post(("unwatched.png", art_png(1)), channel=quiet)
        await discord.post(("watched.png", art_png(2)))
        await world.archived(1)
        assert set(await world.entries()) == {"watched.png"}
