"""An installation that is exported, lost and imported gives the same answers and continues its work."""

import asyncio
import io
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest
from rich.console import Console

from contracts.events import ImageDownloaded, ImageEmbedded, ImageIndexed, ImagePosted
from contracts.subjects import IMAGES
from infra.sandbox.art.generate import draw_piece
from infra.vision.distortions import crop, encode_jpeg, encode_png, resize
from pipeline.audit.command import show_audit
from pipeline.backup.archive_file import BLOBS, QUERIES, open_archive_file
from pipeline.backup.authenticity import EXPORT_KEY_FILENAME
from pipeline.backup.export import export_to
from pipeline.engine.registry import STAGES
from pipeline.local.archive_and_find import LocalAnswer, archive_images, find_images
from pipeline.process import Process, open_log_server, open_process
from pipeline.settings import Settings
from tests.support.backups import EXPORT_KEY, write_key
from tests.support.programs import EndedProgram, run_to_end
from tests.support.world import IMPATIENT_POLICY, Log

GUILD = "local"


@pytest.mark.timeout(300)
@pytest.mark.parametrize("number", [4, pytest.param(20, marks=pytest.mark.slow)])
async def test_the_same_answers_after_export_and_import(tmp_path: Path, number: int) -> None:
    """There are as many queries as pieces."""
    data, file = tmp_path / "data", tmp_path / "mapseek.archive"
    pieces, asked = write_pictures(tmp_path / "pieces", number), make_query_files(tmp_path / "questions", number)
    async with open_mapseek(data) as process:
        await archive_files(process, pieces[: number // 2])
        assert (await run_command("export", file, data)).code == 0
        size = file.stat().st_size
        await archive_files(process, pieces[number // 2 :])
        before = await find_answers(process, asked)
        await expect_clean_audit(data, number)
        exported = await run_command("export", file, data)
    assert exported.code == 0, exported.err
    key = ("--key", str(shutil.copy(data / EXPORT_KEY_FILENAME, tmp_path)))
    assert size < file.stat().st_size
    assert {each.verdict for each in before} >= {"match", "none"}

    shutil.rmtree(data)
    imported = await run_command("import", file, data, *key)
    assert imported.code == 0, imported.err
    again = await run_command("import", file, data, *key)
    assert (again.code, "empty installation" in again.err, "Traceback" in again.err) == (1, True, False)
    await expect_clean_audit(data, number)

    async with open_mapseek(data) as process:
        log = Log(process.container.client)
        await log.wait_until_idle("image")
        await expect_clean_audit(data, number)
        assert await log.count(ImageIndexed) == number
        for durable in ("download-image", "preprocess-image", "fingerprint-image-g1", "embed-image-g1", "link-image-g1"):
            info = await log.client.jetstream().consumer_info(IMAGES, durable)
            assert (info.num_pending, info.delivered and info.delivered.consumer_seq) == (0, 0), durable
        after = await find_answers(process, asked)
        assert len(after) == number
        for here, there in zip(before, after, strict=True):
            assert (there.verdict, there.documents, list(there.found)) == (here.verdict, here.documents, list(here.found))
            assert there.found == pytest.approx(here.found, abs=1e-4)
        newest = tmp_path / "newest.png"
        newest.write_bytes(encode_png(draw_piece(1000)))
        await archive_files(process, [newest])
        assert await log.count(ImageDownloaded) == number + 1
        [answer] = await find_answers(process, [newest])
        assert next(iter(answer.found)).startswith("local-")
        refused = await run_command("export", file, data)
    assert (refused.code, "an export key that is not in" in refused.err) == (1, True)


async def test_an_export_during_work_loses_no_work(tmp_path: Path) -> None:
    """After the import every image is processed to its end, wherever it was during the export."""
    data, file = tmp_path / "data", tmp_path / "mapseek.archive"
    pieces = write_pictures(tmp_path / "pieces", 10)
    async with open_mapseek(data) as process:
        archiving = asyncio.create_task(archive_files(process, pieces))
        await Log(process.container.client).wait_for(ImageEmbedded, 2)
        with open_archive_file(file, new=True) as database:
            stores = {BLOBS: await process.container.blobs(), QUERIES: await process.container.query_blobs()}
            exported = await export_to(database, EXPORT_KEY, process.container.client, stores, lambda _what, _done, _total: None)
        await archiving
    assert exported.missing == []
    shutil.rmtree(data)
    assert (await run_command("import", file, data, "--key", str(write_key(tmp_path)))).code == 0
    async with open_mapseek(data) as process:
        log = Log(process.container.client)
        await log.wait_until_idle("image")
        posted = sorted(fact.image_id for fact in await log.facts(ImagePosted))
        assert sorted(fact.image_id for fact in await log.facts(ImageIndexed)) == posted
        assert [entry.image_id async for entry in (await process.container.catalogue()).scan()] == posted
        assert await log.dead_letters() == []


@asynccontextmanager
async def open_mapseek(folder: Path) -> AsyncIterator[Process]:
    settings = Settings(data_dir=folder, http_port=0, _env_file=None)  # type: ignore[call-arg]
    async with open_log_server(settings) as address, open_process(settings, address, STAGES, policy=IMPATIENT_POLICY) as process:
        yield process


async def run_command(command: str, file: Path, folder: Path, *options: str) -> EndedProgram:
    return await run_to_end(command, str(file), *options, environment={"MAPSEEK_DATA_DIR": str(folder)})


async def expect_clean_audit(folder: Path, images: int) -> None:
    """Expect `mapseek audit` to count so many images at every step, none of them in progress, and to find no gap."""
    out = Console(file=io.StringIO())
    options: dict[str, Any] = {"guild": None, "use_discord": False, "whole": False, "json": True, "out": out, "err": out}
    code = await show_audit(Settings(data_dir=folder, _env_file=None), **options)  # type: ignore[call-arg]
    report = orjson.loads(out.file.getvalue())  # type: ignore[attr-defined]
    assert (code, report["clean"], report["gaps"]) == (0, True, []), report
    there = {step["name"]: (step["there"], step["on_the_way"]) for step in report["steps"]}
    made = ("posted", "downloaded", "preprocessed", "fingerprinted in g1", "embedded in g1", "indexed")
    whole = (*made, "in the catalogue", "with their vector")
    assert {name: there[name] for name in whole} == dict.fromkeys(whole, (images, 0))


def write_pictures(folder: Path, number: int) -> list[Path]:
    folder.mkdir()
    return [write_file(folder / f"piece-{seed}.png", encode_png(draw_piece(seed))) for seed in range(number)]


def make_query_files(folder: Path, asked: int) -> list[Path]:
    """Write pieces unchanged, smaller, as JPEG and cropped, and some that were never archived."""
    folder.mkdir()
    found = []
    for number in range(asked):
        image = draw_piece(3 * number % (asked + 5))
        data = (encode_png(image), encode_jpeg(image, 60), encode_png(resize(image, 0.5)), encode_png(crop(image, 0.1)))[number % 4]
        found.append(write_file(folder / f"question-{number}", data))
    return found


def write_file(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


async def archive_files(process: Process, paths: Sequence[Path]) -> None:
    container = process.container
    ends = [each async for each in archive_images(container.client, container.journal, await container.blobs(), "g1", GUILD, paths)]
    assert [each.problem for each in ends] == [None] * len(paths)


@dataclass(frozen=True)
class AnswerContent:
    """An answer without its elapsed time, which may differ."""

    verdict: str
    found: dict[str, float]
    documents: dict[str, Any]


async def find_answers(process: Process, paths: Sequence[Path]) -> list[AnswerContent]:
    container = process.container
    found = find_images(
        container.client,
        container.journal,
        await container.query_blobs(),
        await container.catalogue(),
        GUILD,
        paths,
        top=5,
        timeout=100,
    )
    return [to_content(answer) async for answer in found]


def to_content(answer: LocalAnswer) -> AnswerContent:
    matches = {match.image_id: match.score for match in answer.matches}
    return AnswerContent(answer.verdict, matches, {name: dict(document) for name, document in answer.documents.items()})
