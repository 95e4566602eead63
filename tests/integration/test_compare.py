"""`mapseek compare` on a real log with two real encoders: its queries, its counts, its refusals and its report."""

import csv
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from nats.aio.client import Client
from PIL import Image
from rich.console import Console

from contracts.envelope import Origin
from contracts.errors import MapSeekError
from contracts.events import (
    GenerationDropped,
    ImageEmbedded,
    ImageFingerprinted,
    ImagePosted,
    ImagePreprocessed,
    ImageRemoved,
    Person,
    SearchJudged,
    StoredFile,
)
from contracts.ports import Fingerprint, QueryFingerprint
from infra.blobs.files import open_blob_store
from infra.clip.calibration import FINE_UNTRAINED_MODEL, UNTRAINED_MODEL
from infra.clip.encoder import open_encoder
from infra.nats.connection import LogAddress
from infra.nats.journal import JetStreamJournal
from infra.nats.projections import read_generations
from infra.sandbox.art.generate import draw_piece
from infra.sqlite.catalogue import open_sqlite_catalogue
from infra.vision.distortions import change_brightness, crop, reencode
from infra.vision.fingerprint import Fingerprinter
from infra.vision.prints import pack_print, unpack_print
from infra.vision.rectify import decode_picture
from pipeline.compare.command import compare_generations
from pipeline.engine import topology
from pipeline.generations.lifecycle import build_generation_activated, build_generation_started
from pipeline.settings import Settings
from stages.canonical_image import encode_canonical_png, encode_thumbnail
from stages.persist import build_fields
from tests.support.facts import BLOB, MOMENT
from tests.support.fakes import MemoryFingerprinter
from tests.support.feature_search import query_fingerprint
from tests.support.programs import log_environment, run_to_end
from tests.support.workers import ThreadWorkers

SEEDS = range(930_000, 930_026)
NOT_ARCHIVED_SEED = 931_000
SOME_VECTOR = b"\0\0\x80\x3f" + bytes(4 * 511)


def image_id(number: int) -> str:
    return str(5000 + number)


def make_message_link(number: int) -> str:
    return f"https://discord.com/channels/7/8/{6000 + number}"


def shift_picture(image: Image.Image) -> Image.Image:
    return crop(image, 0.1, anchor=(0.1, 0.9))


class QuickFingerprinter(MemoryFingerprinter):
    """Gives every query the same features and no regions."""

    async def examine(self, picture: bytes) -> QueryFingerprint:
        places, hashes = np.zeros((0, 8), np.float32), np.zeros((1, 8, 32), np.uint8)
        made = replace(unpack_print(query_fingerprint(0)), picture=decode_picture(picture), places=places, place_hashes=hashes)
        return QueryFingerprint(Fingerprint(pack_print(made), "0" * 64, 0, 0), ())


@pytest.fixture
def quick_fingerprints(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use quick fingerprints: an archive without fingerprints compares a query's with nothing, so it need not be a real one."""
    monkeypatch.setattr("pipeline.compare.run.Fingerprinter", lambda _: QuickFingerprinter())


@dataclass
class Printed:
    code: int
    out: str
    page: str

    def row(self, heading: str) -> list[str]:
        """Return the cells of the printed table in the row of a heading."""
        line = next(line for line in self.out.splitlines() if line.strip().startswith(heading))
        return re.split(r"\s{2,}", line.strip())[1:]


@dataclass
class Archive:
    """An archive with two generations and everything that a comparison reads, without running stages."""

    settings: Settings
    journal: JetStreamJournal
    folder: Path

    async def judge(self, search: int, picture: Image.Image, image: int, *, right: bool) -> None:
        pixels = await open_blob_store(self.folder / "questions").put(encode_canonical_png(picture))
        judged = SearchJudged(
            guild_id="7",
            search_id=f"s{search}",
            interaction_id=f"i{search}-{image}-{right}",
            image_id=image_id(image),
            right=right,
            voter_id="5",
            judged_at=MOMENT,
            generation="g1",
            score=0.9,
            pixels=pixels,
        )
        assert await self.journal.record(judged, Origin(judged.search_id))

    async def compare(self, *names: str, queries: Path | None = None, sample: int | None = None) -> Printed:
        printed = io.StringIO()
        out, err = Console(file=printed, width=160), Console(file=io.StringIO())
        first, second = names or ("g1", "g2")
        report = self.folder / "report"
        code = await compare_generations(self.settings, first, second, queries, sample, report, out, err)
        return Printed(code, printed.getvalue(), (report / "index.html").read_text())


@pytest.fixture
async def archive(
    client: Client, log_address: LogAddress, journal: JetStreamJournal, settings: Callable[..., Settings], tmp_path: Path
) -> Archive:
    await topology.ensure_topology(client, [])
    made = settings(nats_url=log_address.url, nats_nkey=log_address.nkey_file, device="cpu")
    folder = made.data_dir
    blobs, catalogue = open_blob_store(folder / "blobs"), await open_sqlite_catalogue(folder / "catalogue.sqlite")
    pictures = {number: draw_piece(seed) for number, seed in enumerate(SEEDS)}
    for number, picture in pictures.items():
        for fact in await make_facts(
            number, picture, await blobs.put(encode_canonical_png(picture)), await blobs.put(encode_thumbnail(picture))
        ):
            await catalogue.merge(fact.image_id, build_fields(fact))
    await catalogue.close()
    for name, model in (("g1", UNTRAINED_MODEL), ("g2", FINE_UNTRAINED_MODEL)):
        encoder = await open_encoder(model, None, device="cpu")
        await journal.record(build_generation_started(name, encoder.encoder, model, None, "p1"), Origin(name))
        for number, picture in pictures.items():
            vector = await encoder.encode(encode_canonical_png(picture), urgent=False)
            embedded = ImageEmbedded(guild_id="7", channel_id="8", image_id=image_id(number), generation=name, vector=vector)
            assert await journal.record(embedded, Origin("1"))
        await encoder.close()
    await journal.record(build_generation_activated(await read_generations(client), "g1"), Origin("g1"))
    return Archive(made, journal, folder)


async def make_facts(number: int, picture: Image.Image, pixels: str, thumbnail: str) -> tuple[ImagePosted, ImagePreprocessed]:
    image = {"guild_id": "7", "channel_id": "8", "image_id": image_id(number)}
    posted = ImagePosted(
        **image,
        message_id=str(6000 + number),
        author=Person(id="5", name="Steve & Alex"),
        posted_at=MOMENT,
        filename=f"map-{number}.png",
        message_link=make_message_link(number),
        source=StoredFile(blob=BLOB),
    )
    sizes = {"width": picture.width, "height": picture.height, "format": "png", "preprocessing": "p1"}
    return posted, ImagePreprocessed(**image, pixels=pixels, thumbnail=thumbnail, **sizes)


class Page(HTMLParser):
    """Collects what a report shows: classes of articles, pictures, links, and everything that it would load from elsewhere."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.articles, self.pictures, self.links, self.loads = list[str](), list[str](), list[str](), list[str]()
        self.open = list[str]()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if tag not in ("img", "meta", "br"):
            self.open.append(tag)
        if tag == "article":
            self.articles.append(values["class"])
        if tag == "img":
            self.pictures.append(values["src"])
        if tag == "a":
            self.links.append(values["href"])
        if tag in ("link", "script", "iframe"):
            self.loads.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.usefixtures("quick_fingerprints")
async def test_judged_searches_decide_and_the_report_shows_what_changed(archive: Archive) -> None:
    for number, seed in enumerate(SEEDS):
        how = (shift_picture, lambda image: reencode(image, 30), lambda image: change_brightness(image, 0.7))[number % 3]
        await archive.judge(number, how(draw_piece(seed)), number, right=True)
    await archive.judge(100, draw_piece(NOT_ARCHIVED_SEED), 0, right=False)
    printed = await archive.compare()
    assert printed.code == 0
    assert "  g1  " in printed.out
    assert printed.row("encoder") == [f"{model} (untrained)" for model in (UNTRAINED_MODEL, FINE_UNTRAINED_MODEL)]
    small, fine = (int(cell.split(" of ")[0]) for cell in printed.row("right piece first"))
    assert len(SEEDS) >= fine >= small >= len(SEEDS) * 2 // 3
    assert printed.row("vectors") == [f"{len(SEEDS)} with 512 dimensions", f"{len(SEEDS)} with 384 dimensions"]
    assert printed.row("storage") == ["53.2 kB", "39.9 kB"]

    page = Page(printed.page)
    assert page.open == []
    assert page.loads == []
    assert page.articles, "two different encoders give different answers"
    assert f"{len(page.articles)} queries answered differently" in printed.out
    assert len(page.pictures) >= 2 * len(page.articles)
    assert all(each.startswith("data:image/webp;base64,") for each in page.pictures)
    assert set(page.links) <= {make_message_link(number) for number in range(len(SEEDS))}
    assert "Steve &amp; Alex" in printed.page


@pytest.mark.usefixtures("quick_fingerprints")
async def test_a_sample_is_repeatable_and_used_when_there_are_no_judgements(archive: Archive) -> None:
    first, second = await archive.compare(), await archive.compare()
    assert count_asked(first) == count_asked(second) == len(SEEDS)
    assert first.row("right piece first") == second.row("right piece first")
    assert first.row("first: sample, JPEG quality 40") == ["9 of 9 (100%)"] * 2
    assert first.row("first: sample, 25 % darker") == ["8 of 8 (100%)"] * 2
    assert count_asked(await archive.compare(sample=6)) == 6


def count_asked(printed: Printed) -> int:
    found = re.search(r"(\d+) queries, run in both", printed.page)
    assert found
    return int(found[1])


@pytest.fixture
def write_query_folder(tmp_path: Path) -> Callable[..., Path]:
    def make(*rows: tuple[str, ...], header: tuple[str, ...] = ("file", "expected")) -> Path:
        folder = tmp_path / "held"
        folder.mkdir(exist_ok=True)
        draw_piece(SEEDS[3]).convert("RGB").save(folder / "by-link.jpg", quality=60)
        draw_piece(SEEDS[4]).save(folder / "by-id.png")
        draw_piece(NOT_ARCHIVED_SEED).save(folder / "never.png")
        (folder / "text.png").write_text("no picture")
        with (folder / "queries.csv").open("w", newline="") as file:
            csv.writer(file).writerows([header, *rows])
        return folder

    return make


@pytest.mark.usefixtures("quick_fingerprints")
async def test_pictures_of_a_query_folder_are_asked_besides_judged_searches(
    archive: Archive, write_query_folder: Callable[..., Path]
) -> None:
    await archive.judge(1, shift_picture(draw_piece(SEEDS[0])), 0, right=True)
    folder = write_query_folder(("by-link.jpg", make_message_link(3)), ("by-id.png", image_id(4)), ("never.png", ""))
    printed = await archive.compare(queries=folder)
    assert count_asked(printed) == 4
    assert printed.row("first: your pictures") == ["2 of 2 (100%)"] * 2
    assert printed.row("false matches") == ["0 of 4 (0%)"] * 2


async def test_generations_with_fingerprints_are_compared_by_verified_matches(
    archive: Archive, write_query_folder: Callable[..., Path]
) -> None:
    """A rotated and cropped picture is verified. A picture that only looks similar is no match."""
    fingerprinter, blobs = Fingerprinter(ThreadWorkers()), open_blob_store(archive.folder / "blobs")
    for number in range(6):
        made = await fingerprinter.fingerprint(encode_canonical_png(draw_piece(SEEDS[number])))
        known_by = {
            "fingerprint": await blobs.put(made.data),
            "hash": made.hash,
            "quality": made.quality,
            "features": made.features,
        }
        for generation in ("g1", "g2"):
            fact = ImageFingerprinted(
                guild_id="7", channel_id="8", image_id=image_id(number), generation=generation, method="f1", **known_by
            )
            assert await archive.journal.record(fact, Origin("1"))
    folder = write_query_folder(("by-id.png", image_id(4)), ("never.png", ""))
    shift_picture(draw_piece(SEEDS[4])).transpose(Image.Transpose.ROTATE_90).save(folder / "by-id.png")
    draw_piece(SEEDS[7]).transpose(Image.Transpose.ROTATE_180).save(folder / "never.png")
    printed = await archive.compare(queries=folder)
    assert printed.row("right piece first") == ["1 of 1 (100%)"] * 2
    assert printed.row("false matches") == ["0 of 2 (0%)"] * 2


@pytest.mark.parametrize(
    ("rows", "header", "sentence"),
    [
        ([("by-id.png", "404")], ("file", "expected"), r"queries.csv, line 2: no archived image has the id .* 404: correct it"),
        (
            [("never.png", "", "my guild")],
            ("file", "expected", "guild"),
            "queries.csv, line 2: 'my guild' is not the id of a guild",
        ),
        ([("none.png", "")], ("file", "expected"), r"none.png cannot be read \(No such file"),
        ([("text.png", "")], ("file", "expected"), r"text.png cannot be used: The file is not a PNG"),
        ([("by-id.png", "1")], ("picture", "answer"), "lacks the columns file and expected"),
        ([], ("file", "expected"), "names no picture"),
    ],
)
async def test_a_mistake_in_the_query_folder_is_one_sentence(
    archive: Archive, write_query_folder: Callable[..., Path], rows: list[tuple[str, ...]], header: tuple[str, ...], sentence: str
) -> None:
    with pytest.raises(MapSeekError, match=sentence):
        await archive.compare(queries=write_query_folder(*rows, header=header))


async def test_generations_that_cannot_be_compared_are_one_sentence(archive: Archive, tmp_path: Path) -> None:
    with pytest.raises(MapSeekError, match="g1 cannot be compared with itself"):
        await archive.compare("g1", "g1")
    with pytest.raises(MapSeekError, match="no generation 'g7': there is g1, g2"):
        await archive.compare("g1", "g7")
    with pytest.raises(MapSeekError, match=r"queries.csv cannot be read \(FileNotFoundError\)"):
        await archive.compare(queries=tmp_path)
    encoder = await open_encoder(UNTRAINED_MODEL, None, device="cpu")
    await archive.journal.record(build_generation_started("g3", encoder.encoder, UNTRAINED_MODEL, None, "p1"), Origin("g3"))
    await encoder.close()
    with pytest.raises(MapSeekError, match="g3 has no vectors yet: build it with `mapseek replay`"):
        await archive.compare("g1", "g3")
    await archive.journal.record(GenerationDropped(generation="g2"), Origin("g2"))
    with pytest.raises(MapSeekError, match="g2 was dropped"):
        await archive.compare("g1", "g2")


async def test_the_command_prints_its_result_or_one_sentence(archive: Archive, log_address: LogAddress, tmp_path: Path) -> None:
    environment = {**log_environment(log_address), "MAPSEEK_DATA_DIR": str(archive.folder), "MAPSEEK_DEVICE": "cpu"}
    report = tmp_path / "elsewhere"
    done = await run_to_end("compare", "g1", "g2", "--sample", "4", "--report", str(report), environment=environment)
    assert (done.code, "right piece first" in done.out, (report / "index.html").exists()) == (0, True, True), done.err
    wrong = await run_to_end("compare", "g1", "g9", environment=environment)
    assert wrong.code == 1
    assert wrong.err == "mapseek: There is no generation 'g9': there is g1, g2.\n"


async def test_an_encoder_with_other_weights_is_refused(archive: Archive) -> None:
    encoder = await open_encoder(UNTRAINED_MODEL, None, device="cpu")
    other = build_generation_started("g3", encoder.encoder, UNTRAINED_MODEL, None, "p1").model_copy(update={"digest": "0" * 64})
    await encoder.close()
    await archive.journal.record(other, Origin("g3"))
    embedded = ImageEmbedded(guild_id="7", channel_id="8", image_id=image_id(0), generation="g3", vector=SOME_VECTOR)
    await archive.journal.record(embedded, Origin("1"))
    with pytest.raises(MapSeekError, match=r"g3 was made with .* \(000000000000\)"):
        await archive.compare("g1", "g3")


@pytest.mark.usefixtures("quick_fingerprints")
async def test_images_missing_in_one_generation_are_reported(archive: Archive) -> None:
    removed = ImageRemoved(guild_id="7", channel_id="8", image_id="99", message_id="1", removed_at=MOMENT, cause="deleted")
    await archive.journal.record(removed, Origin("1"))
    one_more = ImageEmbedded(guild_id="7", channel_id="8", image_id="98", generation="g1", vector=SOME_VECTOR)
    await archive.journal.record(one_more, Origin("1"))
    printed = await archive.compare(sample=3)
    assert "g2 has vectors of 26 images, g1 of 27: it cannot find the images that it lacks." in printed.out
    assert "it cannot find the images that it lacks" in printed.page
