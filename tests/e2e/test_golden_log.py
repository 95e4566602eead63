"""Today's code continues a log that was kept: it reads every entry, repeats no work and misses no image."""

from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from contracts.envelope import Origin
from contracts.events import FACTS, ImageDownloaded, ImageEmbedded, ImageIndexed, ImagePosted
from contracts.subjects import FAILURES, LANES, parse_subject
from infra.blobs.files import open_blob_store
from infra.nats.connection import connect
from infra.nats.reader import decode_fact
from infra.nats.server import embedded_server
from infra.sandbox.art.generate import draw_piece
from infra.vision.distortions import encode_png
from pipeline.audit.audit import Sources, audit
from pipeline.audit.chain import Scope
from pipeline.audit.checks import FEATURE_INDEX, VECTOR_INDEX
from pipeline.audit.gaps import Gap
from pipeline.backup.restore import fill_catalogue
from pipeline.container import open_catalogue
from pipeline.engine.registry import STAGES
from pipeline.local.archive_and_find import LocalAnswer, archive_images, find_images
from pipeline.process import Process, open_process
from pipeline.settings import Settings
from stages.erase import BLOB_GRACE
from tests.support.golden_log import PIECES, REPOSTED_PIECES, UNPOSTED_PIECE, load_golden_log, read_entries, read_streams
from tests.support.posts import hidden, shown
from tests.support.world import IMPATIENT_POLICY, Log

ARCHIVED = len(PIECES) + len(REPOSTED_PIECES)
FACT_LINES = [line for line in read_entries() if line.stream != FAILURES]
DEAD_LETTERS = [line for line in read_entries() if line.stream == FAILURES]
KINDS = Counter(parse_subject(line.subject)[0] for line in FACT_LINES)

module_loop = pytest.mark.asyncio(loop_scope="module")


@dataclass(frozen=True)
class GoldenInstallation:
    """Every stage, running on the golden log.

    `recorded` counts its facts by kind, and `given` what each consumer was delivered, once no stage had work left.
    """

    process: Process
    recorded: Mapping[str, int]
    given: Mapping[str, int]

    @property
    def log(self) -> Log:
        return Log(self.process.container.client)

    async def find_post(self, image_id: str) -> ImagePosted:
        [post] = [fact for fact in await self.log.facts(ImagePosted) if fact.image_id == image_id]
        return post

    async def find(self, *paths: Path) -> list[LocalAnswer]:
        container, guild = self.process.container, (await self.log.facts(ImagePosted))[0].guild_id
        where = container.client, container.journal, await container.query_blobs(), await container.catalogue(), guild
        return [answer async for answer in find_images(*where, paths, top=3, timeout=60)]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def golden(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[GoldenInstallation]:
    """Load the log into an empty server and fill a catalogue from it, as an import does."""
    folder = tmp_path_factory.mktemp("kept")
    settings = Settings(data_dir=folder / "data", discord_token=None, http_port=0, _env_file=None)  # type: ignore[call-arg]
    async with embedded_server(folder / "nats") as address:
        client = await connect(address, "test")
        await load_golden_log(client, open_blob_store(settings.data_dir / "blobs"))
        catalogue = await open_catalogue(settings, settings.data_dir)
        await fill_catalogue(catalogue, client, lambda _what, _done, _total: None)
        await catalogue.close()
        await client.close()
        async with open_process(settings, address, STAGES, policy=IMPATIENT_POLICY) as process:
            log = Log(process.container.client)
            for family in LANES:
                await log.wait_until_idle(family)
            recorded = {name: await log.count(FACTS[name]) for name in KINDS}
            yield GoldenInstallation(process, recorded, await count_delivered(process))


async def count_delivered(process: Process) -> dict[str, int]:
    """Count the entries that each consumer of the log was delivered since, or has pending."""
    js, found = process.container.client.jetstream(), {}
    for stream, about in read_streams().items():
        for consumer in about["consumers"]:
            info = await js.consumer_info(stream, consumer["config"]["durable_name"])
            assert info.delivered is not None
            found[info.name] = info.delivered.consumer_seq + (info.num_pending or 0)
    return found


def test_every_entry_can_be_read() -> None:
    assert Counter(decode_fact(line.subject, line.headers, line.body).fact.type_name() for line in FACT_LINES) == KINDS
    made = ("downloaded", "preprocessed", "fingerprinted", "embedded", "indexed", "rejected", "reposted")
    find = ("requested", "downloaded", "preprocessed", "fingerprinted", "embedded", "matched", "answered")
    assert set(KINDS) == {
        *("generation.started", "generation.activated", "image.posted", "incident.failed", "incident.buried"),
        *(f"image.{name}" for name in made),
        *(f"search.{name}" for name in find),
    }
    [lost] = DEAD_LETTERS
    assert decode_fact(lost.headers["mapseek-subject"], lost.headers, lost.body).fact.type_name() == "image.posted"


@module_loop
async def test_nothing_is_done_again(golden: GoldenInstallation) -> None:
    assert golden.recorded == KINDS
    assert golden.given == dict.fromkeys(golden.given, 0)
    assert len(await golden.log.dead_letters()) == len(DEAD_LETTERS)


@module_loop
async def test_every_image_is_found(golden: GoldenInstallation, tmp_path: Path) -> None:
    posts = await write_originals(golden, tmp_path)
    assert (len(posts), sum(map(len, posts.values()))) == (len(PIECES), ARCHIVED)
    for answer in await golden.find(*posts):
        assert answer.verdict == "match", answer
        [match] = answer.matches
        assert match.image_id in posts[answer.path]
        assert answer.documents[match.image_id]["message_link"] == (await golden.find_post(match.image_id)).message_link


async def write_originals(golden: GoldenInstallation, folder: Path) -> dict[Path, set[str]]:
    """Write the archived pictures to files; return the image ids of each."""
    indexed = {fact.image_id for fact in await golden.log.facts(ImageIndexed)}
    blobs, found = await golden.process.container.blobs(), {}
    for fact in await golden.log.facts(ImageDownloaded):
        if fact.image_id in indexed:
            path = folder / f"{fact.blob}.png"
            path.write_bytes(await blobs.get(fact.blob))
            found.setdefault(path, set[str]()).add(fact.image_id)
    return found


@module_loop
async def test_only_the_lost_image_is_missing(golden: GoldenInstallation) -> None:
    [gap] = await find_gaps(golden)
    [lost] = DEAD_LETTERS
    assert gap.found == (lost.headers["mapseek-subject"].split(".")[5],)
    assert gap.kind == "not-downloaded-dead-letter"


async def find_gaps(golden: GoldenInstallation) -> list[Gap]:
    container = golden.process.container
    generation = (await container.generations()).now.active
    assert generation is not None
    indexes = {FEATURE_INDEX: container.folder / "features", VECTOR_INDEX: container.folder / "vectors"}
    sources = Sources(
        scope=Scope(container.client, generation, None),
        catalogue=await container.catalogue(),
        blobs=await container.blobs(),
        grace_s=BLOB_GRACE.total_seconds(),
        state=await container.state(),
        channels=frozenset({"all"}),
        rest=None,
        indexes=indexes,
    )
    return (await audit(sources)).gaps


@module_loop
async def test_new_images_are_embedded_in_the_same_generation(golden: GoldenInstallation, tmp_path: Path) -> None:
    container, newest = golden.process.container, tmp_path / "newest.png"
    generations = (await container.generations()).now
    assert generations.active is not None
    assert (generations.active.name, list(generations.known)) == ("g1", ["g1"])
    newest.write_bytes(encode_png(draw_piece(UNPOSTED_PIECE)))
    guild = (await golden.log.facts(ImagePosted))[0].guild_id
    archived = archive_images(container.client, container.journal, await container.blobs(), "g1", guild, [newest])
    assert [each.problem async for each in archived] == [None]
    [answer] = await golden.find(newest)
    assert answer.documents[answer.matches[0].image_id]["metadata"]["filename"] == "newest.png"
    assert {fact.generation for fact in await golden.log.facts(ImageEmbedded)} == {"g1"}


@module_loop
async def test_an_image_of_it_can_be_hidden_and_shown_again(golden: GoldenInstallation, tmp_path: Path) -> None:
    """The two posts of one piece are hidden one after the other, then shown again."""
    originals = await write_originals(golden, tmp_path)
    path, posts = next((path, posts) for path, posts in originals.items() if len(posts) == 2)
    both = sorted(posts)
    facts = {image: await golden.find_post(image) for image in both}
    journal = golden.process.container.journal
    for fact, seen in (
        (hidden(facts[both[0]]), both[1:]),
        (hidden(facts[both[1]]), []),
        (shown(facts[both[0]]), both[:1]),
        (shown(facts[both[1]]), both),
    ):
        assert await journal.record(fact, Origin("edit"))
        await golden.log.wait_until_idle("image")
        [answer] = await golden.find(path)
        found = {image for match in answer.matches for image in (match.image_id, *match.posts)}
        assert found & posts == set(seen)
        assert (answer.verdict == "match") is bool(seen)
        if not seen:
            assert [gap.kind for gap in await find_gaps(golden)] == ["not-downloaded-dead-letter"]
