"""Files whose names drive a terminal, forge lines or are not UTF-8: archived, found and reported like any other, shown escaped."""

import os
import re
from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest
import pytest_asyncio

from infra.sandbox.art.generate import draw_piece
from pipeline.engine.registry import STAGES
from pipeline.process import open_log_server, open_process
from pipeline.settings import Settings
from tests.support.programs import EndedProgram, run_to_end

NAMES = {
    b"\xff\xfe not utf-8.png": r"\xff\xfe not utf-8.png",
    b"\x1b[31m\x1b]0;title\x07.png": r"\x1b[31m\x1b]0;title\x07.png",
    b"two\nlines: forged.png": r"two\nlines: forged.png",
    "map\u202egnp.png".encode(): r"map\u202egnp.png",
    "zero\u200bwidth\ufeff.png".encode(): r"zero\u200bwidth\ufeff.png",
    b"[red]markup [bold :smile:.png": "[red]markup [bold :smile:.png",
    "מפה 地図 👩\u200d🚀.png".encode(): "מפה 地図 👩\u200d🚀.png",
}
"""The bytes of each name, and how it is shown."""

BROKEN_NAME, BROKEN_SHOWN = b"broken\r\x9b\xff\x1b[2K.png", r"broken\r\x9b\xff\x1b[2K.png"
CONTROLS = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")

module_loop = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder, and beside it the folder `posts`, whose pictures have these names."""
    folder = tmp_path_factory.mktemp("hostile")
    (folder / "posts").mkdir()
    for seed, name in enumerate(NAMES):
        draw_piece(seed).save(folder / "piece.png")
        os.rename(folder / "piece.png", os.fsencode(folder / "posts") + b"/" + name)
    Path(os.fsdecode(os.fsencode(folder / "posts") + b"/" + BROKEN_NAME)).write_bytes(b"\x89PNG\r\n\x1a\n truncated")
    return folder


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def working(folder: Path) -> AsyncIterator[None]:
    """Run every stage, as `mapseek up` does, so that the commands need not load the model."""
    settings = Settings(data_dir=folder / "data", _env_file=None)
    async with open_log_server(settings) as address, open_process(settings, address, STAGES):
        yield


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def archived(working: None, folder: Path) -> EndedProgram:
    return await mapseek(folder, "archive", str(folder / "posts"))


async def mapseek(folder: Path, *arguments: str, **environment: str) -> EndedProgram:
    known = {"MAPSEEK_DATA_DIR": str(folder / "data"), "MAPSEEK_LOG_FORMAT": "auto"}
    return await run_to_end(*arguments, environment=known | environment)


def list_pictures(folder: Path) -> list[str]:
    return [os.fsdecode(os.fsencode(folder / "posts") + b"/" + name) for name in NAMES]


@module_loop
async def test_every_file_of_a_folder_is_archived_and_the_broken_one_is_reported_on_one_line(
    archived: EndedProgram, folder: Path
) -> None:
    assert archived.code == 1
    assert f"{len(NAMES)} images archived, 1 not archived." in archived.err
    assert f"{folder / 'posts'}/{BROKEN_SHOWN}: The picture is damaged" in archived.err
    assert not CONTROLS.search(archived.out + archived.err)


@module_loop
@pytest.mark.usefixtures("archived")
async def test_answers_show_names_escaped_on_a_line_each_and_so_does_the_page(folder: Path) -> None:
    page = folder / "page.html"
    found = await mapseek(folder, "find", "--top", "1", "--explain", str(page), *list_pictures(folder))
    assert found.code == 0, found.err
    assert not CONTROLS.search(found.out + found.err)
    lines = found.out.splitlines()
    for shown in NAMES.values():
        (asked,) = [number for number, line in enumerate(lines) if line.startswith(f"{folder / 'posts'}/{shown}: match ")]
        assert lines[asked + 1].split("  ")[2].startswith(f"{shown} by ")
    html = page.read_text(encoding="utf-8")
    assert not CONTROLS.search(html)
    assert all(f"<h2>{shown} <" in html and f"<h3>{shown} by " in html for shown in NAMES.values())


@module_loop
@pytest.mark.usefixtures("archived")
async def test_json_is_valid_in_any_encoding_of_the_terminal_and_keeps_the_names(folder: Path) -> None:
    found = await mapseek(folder, "find", "--json", "--top", "1", *list_pictures(folder), PYTHONIOENCODING="ascii:strict")
    assert found.code == 0, found.err
    assert found.out.isascii()
    answers = [orjson.loads(line) for line in found.out.splitlines()]
    kept = [name.decode("utf-8", "backslashreplace") for name in NAMES]
    assert [Path(answer["query"]).name for answer in answers] == kept
    assert [answer["matches"][0]["filename"] for answer in answers] == kept


@module_loop
@pytest.mark.usefixtures("archived")
async def test_answers_are_printed_in_any_encoding_of_the_terminal(folder: Path) -> None:
    found = await mapseek(folder, "find", "--top", "1", *list_pictures(folder), PYTHONIOENCODING="ascii:strict")
    assert (found.code, found.err) == (0, "")
    assert found.out.isascii()
    assert found.out.count(": match ") == len(NAMES)


@module_loop
@pytest.mark.usefixtures("archived")
async def test_a_trace_shows_the_name_escaped(folder: Path) -> None:
    _, picture, *_ = list_pictures(folder)
    _, shown, *_ = NAMES.values()
    found = await mapseek(folder, "find", "--json", "--top", "1", picture)
    traced = await mapseek(folder, "trace", orjson.loads(found.out)["matches"][0]["image_id"])
    assert f"{shown} by " in traced.out
    assert not CONTROLS.search(traced.out)


@module_loop
@pytest.mark.parametrize("command", ["find", "archive"])
async def test_the_sentence_of_an_error_is_one_line_and_escaped(command: str, folder: Path) -> None:
    missing = os.fsdecode(b"gone\n\x1b[31m\xff" + "\u202e".encode() + b".png")
    refused = await mapseek(folder, command, missing)
    shown = r"gone\n\x1b[31m\xff\u202e.png"
    sentence = f"mapseek: {shown} cannot be read (No such file or directory): correct its path or its permissions.\n"
    assert refused == EndedProgram(1, "", sentence)
