"""The golden log: a log written by an earlier version of the code, kept as data. Every later version must be able to continue it.

Twelve files were posted to a simulated Discord: eight pieces, two reposts, a file that is no picture, and one that the CDN never
delivered. Three searches were made. `tests/golden/log` contains the entries, the final streams and consumers, and the blobs that
the entries of IMAGES name.

`python -m tests.support.golden_log` repeats this and writes a new log. Do that for a release: tests/e2e/test_golden_log.py then
proves that later versions can continue the log of that release.
"""

import asyncio
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from nats.aio.client import Client
from nats.js.api import ConsumerConfig, StreamConfig

from contracts.events import ImageReposted, SearchAnswered
from contracts.ports import BlobStore
from contracts.subjects import IMAGES, STREAM_SUBJECTS
from infra.nats.consumers import copy_consumers
from infra.nats.reader import decode_fact
from infra.sandbox.art.generate import draw_piece
from infra.sandbox.simulator import Status
from infra.vision.distortions import crop, encode_jpeg
from pipeline.engine.dead_letters import remove_server_headers
from pipeline.logging import configure_logging
from stages.erase import list_blobs
from tests.support.archives import iter_messages
from tests.support.world import World, art_png, mapseek_beside, simulated_discord

GOLDEN_FOLDER = Path(__file__).parents[1] / "golden" / "log"

PIECES = (74, 105, 117, 148, 273, 325, 458, 497)
"""Seeds of pieces with small fingerprints: pieces of one map with little detail."""

REPOSTED_PIECES = (117, 325)
UNPOSTED_PIECE = 213


@dataclass(frozen=True)
class LogEntry:
    """One entry of the log."""

    stream: str
    sequence: int
    subject: str
    headers: dict[str, str]
    body: bytes


def read_entries() -> Iterator[LogEntry]:
    """Read all entries, stream by stream, in order."""
    for line in (GOLDEN_FOLDER / "entries.jsonl").read_bytes().splitlines():
        entry: dict[str, Any] = orjson.loads(line)
        yield LogEntry(**{**entry, "body": entry["body"].encode()})


def read_streams() -> dict[str, Any]:
    """Read the streams by name, each with its consumers."""
    found: dict[str, Any] = orjson.loads((GOLDEN_FOLDER / "streams.json").read_bytes())
    return found


async def load_golden_log(client: Client, blobs: BlobStore) -> None:
    """Load the golden log into an empty server. The consumers of all stages have settled it."""
    js = client.jetstream()
    for stream in read_streams().values():
        await js.add_stream(StreamConfig.from_response(dict(stream["config"])))
    for line in read_entries():
        recorded = await js.publish(line.subject, line.body, stream=line.stream, headers=line.headers)
        assert recorded.seq == line.sequence
    for name, stream in read_streams().items():
        for consumer in stream["consumers"]:
            config = ConsumerConfig.from_response(dict(consumer["config"]))
            await js.add_consumer(name, config)
            if consumer["ack_floor"]:
                await js.reset_consumer(name, str(config.durable_name), consumer["ack_floor"] + 1)
    for file in (GOLDEN_FOLDER / "blobs").iterdir():
        assert await blobs.put(file.read_bytes()) == file.name


async def play_golden_scene(world: World) -> None:
    """Post the files and make the searches that the module docstring describes."""
    discord, log = world.discord, world.log
    discord.simulator.faults.add(Status(503), "*/lost.png", times=None)
    for seed in PIECES:
        await discord.post((f"piece-{seed}.png", art_png(seed)))
    await world.archived(len(PIECES))
    await discord.post(*((f"again-{seed}.png", art_png(seed)) for seed in REPOSTED_PIECES), author=discord.alex)
    await discord.post(("broken.png", b"this is no picture"), ("lost.png", art_png(UNPOSTED_PIECE)))
    await log.dead_letters(1)
    await world.archived(len(PIECES) + len(REPOSTED_PIECES) + 2)
    assert await log.count(ImageReposted) == len(REPOSTED_PIECES)
    screenshot = encode_jpeg(crop(draw_piece(PIECES[0]), 0.1), 80)
    for number, query in enumerate((art_png(PIECES[1]), screenshot, art_png(UNPOSTED_PIECE)), start=1):
        await discord.ask(query)
        await log.wait_for(SearchAnswered, number)
    await log.wait_until_idle("search")


async def write_golden_log() -> None:
    """Play the scene, and replace the golden log with the result."""
    with tempfile.TemporaryDirectory() as scratch:
        async with simulated_discord() as discord, mapseek_beside(discord, Path(scratch) / "data") as world:
            await play_golden_scene(world)
            shutil.rmtree(GOLDEN_FOLDER, ignore_errors=True)
            (GOLDEN_FOLDER / "blobs").mkdir(parents=True)
            client, blobs = world.process.container.client, await world.process.container.blobs()
            entries = [_without_machine(entry) async for entry in _entries(client)]
            (GOLDEN_FOLDER / "entries.jsonl").write_text("".join(f"{entry}\n" for entry in entries))
            (GOLDEN_FOLDER / "streams.json").write_bytes(orjson.dumps(await _streams(client), option=orjson.OPT_APPEND_NEWLINE))
            for name in await _list_named_blobs(client):
                (GOLDEN_FOLDER / "blobs" / name).write_bytes(await blobs.get(name))


async def _entries(client: Client) -> AsyncIterator[str]:
    for stream in STREAM_SUBJECTS:
        async for entry in iter_messages(client, stream):
            headers = remove_server_headers(dict(entry.headers or {}))
            about = {"stream": stream, "sequence": entry.seq, "subject": entry.subject, "headers": headers}
            yield orjson.dumps({**about, "body": (entry.data or b"").decode()}).decode()


def _without_machine(entry: str) -> str:
    """Replace what an entry says about this machine: paths, host name and process id."""
    here = str(Path(__file__).parents[2])
    for ours, replacement in (
        (here, "/srv/mapseek"),
        (sys.base_prefix, "/usr"),
        (f"{socket.gethostname()}/{os.getpid()}", "golden/1"),
    ):
        entry = entry.replace(ours, replacement)
    return entry


async def _streams(client: Client) -> dict[str, Any]:
    js, found = client.jetstream(), {}
    for stream in STREAM_SUBJECTS:
        config = (await js.stream_info(stream)).config.as_dict()
        consumers = [
            {"config": _without_defaults(copy.config), "ack_floor": copy.settled} for copy in await copy_consumers(client, stream)
        ]
        found[stream] = {"config": _without_defaults(config), "consumers": consumers}
    return found


def _without_defaults(config: dict[str, Any]) -> dict[str, Any]:
    """Remove what the server added to a configuration, and default values."""
    return {name: value for name, value in config.items() if value and name != "metadata"}


async def _list_named_blobs(client: Client) -> set[str]:
    """Return the names of the blobs in the facts of IMAGES."""
    facts = [
        decode_fact(entry.subject or "", entry.headers, entry.data or b"").fact async for entry in iter_messages(client, IMAGES)
    ]
    return set(list_blobs(facts))


if __name__ == "__main__":
    configure_logging("auto", "error")
    asyncio.run(write_golden_log())
