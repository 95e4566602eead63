"""A log that the first release wrote goes on in today's code, with nothing done again and nothing lost."""

from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from nats.aio.client import Client

from contracts.events import (
    ImageDownloaded,
    ImageEmbedded,
    ImageFingerprinted,
    ImageIndexed,
    ImagePosted,
    ImageRejected,
    SearchAnswered,
    SearchFingerprinted,
)
from contracts.subjects import FAILURES, IMAGES, SEARCHES, parse_subject
from infra.art.distort import png
from infra.art.generate import piece
from infra.blobs.files import FileBlobStore, open_blob_store
from infra.nats.connection import connect
from infra.nats.generations import read_generations
from infra.nats.server import embedded_server
from infra.nats.wire import read
from pipeline import topology
from pipeline.backup.catalogue import fill
from pipeline.generations.standing import standing
from pipeline.local import LocalAnswer, archive, find
from pipeline.process import Process, running
from pipeline.registry import STAGES
from pipeline.settings import Settings
from pipeline.wiring import open_catalogue
from tests.suites.golden_log import lines, load
from tests.suites.world import IMPATIENT, Log

GUILD = "1573607351296983042"
ARCHIVED, REJECTED, LOST = 8, 1, 1
IMAGE_KINDS = ("posted", "downloaded", "preprocessed", "embedded", "indexed", "rejected")
SEARCH_KINDS = ("requested", "downloaded", "preprocessed", "embedded", "matched", "rejected", "answered")


@pytest.fixture
async def upgraded(tmp_path: Path) -> AsyncIterator[Process]:
    """Everything running on the golden log, after `mapseek topology apply` and `mapseek rebuild catalogue`."""
    settings = Settings(data_dir=tmp_path / "data", http_port=0, _env_file=None)  # type: ignore[call-arg]
    async with embedded_server(tmp_path / "nats") as url:
        client = await connect(url, "test")
        await load(client, open_blob_store(settings.data_dir / "blobs"))
        await topology.apply(client, STAGES)
        catalogue = await open_catalogue(settings, settings.data_dir)
        await fill(catalogue, client, lambda _what, _done, _total: None)
        await catalogue.close()
        await client.close()
        async with running(settings, url, STAGES, policy=IMPATIENT) as process:
            yield process


def test_every_entry_can_be_read() -> None:
    kinds = Counter(read(line.subject, line.headers, line.body).fact.type_name() for line in lines() if line.stream != FAILURES)
    assert kinds == Counter(parse_subject(line.subject)[0] for line in lines() if line.stream != FAILURES)
    assert set(kinds) == {"generation.activated"} | {f"image.{name}" for name in IMAGE_KINDS} | {
        f"search.{name}" for name in SEARCH_KINDS
    }
    for letter in (line for line in lines() if line.stream == FAILURES):
        assert read(letter.headers["mapseek-subject"], letter.headers, letter.body).fact.type_name() == "image.posted"


async def test_every_image_is_found_and_nothing_is_done_again(upgraded: Process, tmp_path: Path) -> None:
    client = upgraded.wiring.client
    log = Log(client)
    for family in ("image", "search", "alert", "removal"):
        await log.quiet(family)
    was = Counter(parse_subject(line.subject)[0] for line in lines() if line.stream == IMAGES)
    for kind in (ImagePosted, ImageDownloaded, ImageEmbedded, ImageIndexed, ImageRejected):
        assert await log.count(kind) == was[kind.type_name()], kind
    assert await log.count(ImageEmbedded) == ARCHIVED
    assert len(await log.dead_letters()) == LOST
    await nothing_was_delivered(client)

    posts = {fact.image_id: fact for fact in await log.facts(ImagePosted)}
    assert len(posts) == ARCHIVED + REJECTED + LOST
    pictures = await originals(log, await upgraded.wiring.blobs(), tmp_path)
    answers = [answer async for answer in asked(upgraded, list(pictures))]
    assert len(answers) == ARCHIVED
    for answer in answers:
        assert answer.verdict == "match", answer
        assert answer.matches[0].image_id == pictures[answer.path]
        assert answer.documents[pictures[answer.path]]["message_link"] == posts[pictures[answer.path]].message_link


async def test_it_goes_on_in_the_generation_that_it_had(upgraded: Process, tmp_path: Path) -> None:
    client, wiring = upgraded.wiring.client, upgraded.wiring
    generations = await read_generations(client)
    assert generations.active is not None
    assert (generations.active.name, list(generations.known)) == ("g1", ["g1"])
    newest = tmp_path / "newest.png"
    newest.write_bytes(png(piece(1)))
    archived = [each async for each in archive(client, wiring.journal, await wiring.blobs(), "g1", GUILD, [newest])]
    assert [each.problem for each in archived] == [None]
    [answer] = [answer async for answer in asked(upgraded, [newest])]
    assert answer.documents[answer.matches[0].image_id]["metadata"]["filename"] == "newest.png"
    assert {fact.generation for fact in await Log(client).facts(ImageEmbedded)} == {"g1"}


async def test_the_whole_archive_is_fingerprinted_and_no_old_question_is(upgraded: Process) -> None:
    client, wiring = upgraded.wiring.client, upgraded.wiring
    log = Log(client)
    for family in ("image", "search"):
        await log.quiet(family)
    generation = (await read_generations(client)).known["g1"]
    found = await standing(client, generation)
    assert (found.total, found.missing) == (ARCHIVED, 0)
    documents = await (await wiring.catalogue()).entries([fact.image_id for fact in await log.facts(ImageFingerprinted)])
    for fact in await log.facts(ImageFingerprinted):
        assert (fact.generation, fact.method) == ("g1", "f1")
        assert await (await wiring.blobs()).exists(fact.fingerprint)
        assert documents[fact.image_id].document["fingerprint"]["blob"] == fact.fingerprint
    assert len(documents) == ARCHIVED
    assert await log.count(SearchFingerprinted) == 0
    answered = [line for line in lines() if line.stream == SEARCHES and parse_subject(line.subject)[0] == "search.answered"]
    assert await log.count(SearchAnswered) == len(answered)


async def nothing_was_delivered(client: Client) -> None:
    """No stage that the first release had was given an entry again.

    What is new are the repost that today's `link` has found, and the fingerprints.
    """
    for stream, durables in (
        (IMAGES, ("download-image", "preprocess-image", "embed-image-g1", "persist-image", "persist-image-g1")),
        (SEARCHES, ("download-search", "preprocess-search", "embed-search", "match-search", "reply-search")),
    ):
        for durable in durables:
            info = await client.jetstream().consumer_info(stream, durable)
            new = 1 + ARCHIVED if durable == "persist-image" else 0
            assert (info.num_pending, info.delivered and info.delivered.consumer_seq) == (0, new), durable


async def originals(log: Log, blobs: FileBlobStore, folder: Path) -> dict[Path, str]:
    """The archived pictures as files, with their image ids."""
    indexed = {fact.image_id for fact in await log.facts(ImageIndexed)}
    found = {}
    for fact in await log.facts(ImageDownloaded):
        if fact.image_id in indexed:
            path = folder / f"{fact.image_id}.png"
            path.write_bytes(await blobs.get(fact.blob))
            found[path] = fact.image_id
    return found


async def asked(process: Process, paths: list[Path]) -> AsyncIterator[LocalAnswer]:
    wiring = process.wiring
    found = find(wiring.client, wiring.journal, await wiring.questions(), await wiring.catalogue(), GUILD, paths, top=3, timeout=60)
    async for answer in found:
        yield answer
