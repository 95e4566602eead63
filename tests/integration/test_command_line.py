"""`mapseek` as a person runs it, in a process of its own: exit codes, output and one-sentence errors."""

import asyncio
import fcntl
import os
import re
import shutil
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import orjson
import pytest
import pytest_asyncio

from contracts.errors import build_costly_rejection
from infra.sandbox.art.generate import draw_piece
from infra.vision.distortions import encode_jpeg, resize
from pipeline.engine.registry import STAGES
from pipeline.process import open_log_server, open_process
from pipeline.settings import Settings
from tests.support.bombs import BOMBS

MAPSEEK = str(Path(sys.executable).with_name("mapseek"))


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str


async def mapseek(*arguments: str | Path, **environment: str) -> Result:
    process = await asyncio.create_subprocess_exec(
        MAPSEEK,
        *map(str, arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "COLUMNS": "200", "NO_COLOR": "1", "MAPSEEK_HTTP_PORT": "0", **environment},
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(), 100)
    finally:
        if process.returncode is None:
            process.kill()
    return Result(process.returncode or 0, out.decode(), err.decode())


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for seed in range(12):
        draw_piece(seed).save(folder / f"piece-{seed:02}.png")
    return folder


@pytest.fixture(scope="module")
def archive_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(autouse=True)
def use_archive_folder(archive_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAPSEEK_DATA_DIR", str(archive_folder))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def archived(pictures: Path, archive_folder: Path) -> Result:
    """The result of `mapseek archive` for the pictures, a broken one and a bomb.

    The command starts what it needs and stops it again.
    """
    (pictures / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n truncated")
    (pictures / "bomb.jpg").write_bytes(BOMBS["200 scans"]())
    return await mapseek("archive", pictures, MAPSEEK_DATA_DIR=str(archive_folder))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def working(archived: Result, archive_folder: Path) -> AsyncIterator[None]:
    """Run every stage on the folder, as `mapseek up` does, for the commands of the next tests."""
    settings = Settings(data_dir=archive_folder, _env_file=None)
    async with open_log_server(settings) as address, open_process(settings, address, STAGES):
        yield


module_loop = pytest.mark.asyncio(loop_scope="module")


@module_loop
async def test_archive_prints_counts_and_why_images_were_rejected(archived: Result) -> None:
    assert archived.code == 1
    assert "broken.png: The picture is damaged" in archived.err
    assert f"bomb.jpg: {build_costly_rejection().reason}" in archived.err
    assert "12 images archived, 2 not archived." in archived.err


@module_loop
@pytest.mark.usefixtures("working")
async def test_archived_images_are_not_archived_again(pictures: Path) -> None:
    for name in ("broken.png", "bomb.jpg"):
        (pictures / name).unlink()
    again = await mapseek("archive", pictures)
    assert (again.code, again.out) == (0, "")
    assert "12 images archived, 0 not archived." in again.err


@module_loop
@pytest.mark.usefixtures("working")
async def test_find_goes_on_after_a_bomb(pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "bomb.png").write_bytes(BOMBS["one pixel wide"]())
    found = await mapseek("find", tmp_path / "bomb.png", pictures / "piece-03.png")
    assert found.code == 1
    assert found.out.count(build_costly_rejection().reason) == 1
    assert (pictures / "piece-03.png").as_uri() in found.out


@module_loop
@pytest.mark.usefixtures("working")
async def test_find_prints_one_json_line_for_each_query_in_order(pictures: Path, tmp_path: Path) -> None:
    queries = []
    for seed in (3, 7, 5):
        path = tmp_path / f"question-{seed}.jpg"
        path.write_bytes(encode_jpeg(resize(draw_piece(seed), 0.5), 50))
        queries.append(path)
    stranger = tmp_path / "stranger.png"
    draw_piece(9_001).save(stranger)
    text = tmp_path / "text.png"
    text.write_text("not a picture")
    missing = tmp_path / "missing.png"
    asked = await mapseek("find", "--json", *queries, stranger, text, missing)
    assert asked.code == 1
    assert "untrained" not in asked.err
    answers = [orjson.loads(line) for line in asked.out.splitlines()]
    assert [answer["query"] for answer in answers] == [str(path) for path in (*queries, stranger, text, missing)]
    assert [answer["verdict"] for answer in answers] == ["match", "match", "match", "none", "error", "error"]
    assert [answer["matches"][0]["filename"] for answer in answers[:3]] == ["piece-03.png", "piece-07.png", "piece-05.png"]
    assert set(answers[0]) == {"query", "verdict", "matches", "elapsed_ms"}
    best = answers[0]["matches"][0]
    told = {"image_id", "verdict", "score", "words", "panel", "message_link", "image_url", "author", "posted_at", "filename"}
    assert set(best) == told
    assert (best["verdict"], best["panel"]) == ("match", None)
    assert best["score"] >= 0.9
    assert re.match(r"Same picture: \d+ matching points\.|Copy of the same picture\.", best["words"]), best["words"]
    assert best["message_link"] == (pictures / "piece-03.png").as_uri()
    assert answers[3]["matches"] == []
    assert "No such file" in answers[5]["error"]


@module_loop
@pytest.mark.usefixtures("working")
async def test_find_prints_the_message_link(pictures: Path) -> None:
    shown = await mapseek("find", pictures / "piece-03.png")
    assert shown.code == 0
    assert ": match " in shown.out
    assert (pictures / "piece-03.png").as_uri() in shown.out
    assert "match: The very same file." in shown.out


@module_loop
@pytest.mark.usefixtures("working")
async def test_the_report_of_find_is_one_file_without_external_references(pictures: Path, tmp_path: Path) -> None:
    panel = tmp_path / "panel.png"
    draw_piece(4).crop((128, 0, 256, 128)).save(panel)
    page = tmp_path / "out.html"
    shown = await mapseek("find", panel, "--explain", page)
    assert (shown.code, "column 2 of 3x1 maps" in shown.out, str(page) in shown.err) == (0, True, True)
    html = page.read_text(encoding="utf-8")
    assert "column 2 of 3x1 maps" in html
    assert {kind for _, kind in re.findall(r"<img[^>]* alt=\"([^\"]*)\"[^>]* src=\"(data:image/\w+);", html)} == {
        "data:image/webp",
        "data:image/png",
    }
    assert not re.search(r"(src|href)=\"(?!data:|file:)", html)
    refused = await mapseek("find", panel, "--explain", tmp_path / "missing" / "out.html")
    assert (refused.code, "name a file in a folder that exists" in refused.err) == (1, True)


@module_loop
@pytest.mark.usefixtures("working")
async def test_find_sees_only_its_guild(pictures: Path) -> None:
    elsewhere = await mapseek("find", "--json", "--guild", "another", pictures / "piece-03.png")
    assert orjson.loads(elsewhere.out)["verdict"] == "none"


@module_loop
@pytest.mark.usefixtures("working")
async def test_status_counts_finished_messages_and_fits_a_terminal() -> None:
    status = await mapseek("status", "--json")
    rows = {(row["stage"], row["lane"]): row for row in orjson.loads(status.out)}
    assert rows["download", "image"]["done"] == 14
    assert rows["embed", "image"]["done"] == 12
    assert all(row["pending"] == row["in_flight"] == row["dead_letters"] == 0 for row in rows.values())
    assert all(row["workers_waiting"] for row in rows.values())
    table = await mapseek("status", COLUMNS="80")
    assert max(map(len, table.out.splitlines())) <= 80
    assert "preprocess" in table.out


@module_loop
@pytest.mark.usefixtures("working")
async def test_the_topology_has_no_difference() -> None:
    same = await mapseek("topology", "diff")
    assert (same.code, same.out.strip()) == (0, "The streams and consumers are as this version needs them.")


async def test_an_archive_with_the_former_default_model_keeps_it_and_is_called_untrained(pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "posts").mkdir()
    shutil.copy(pictures / "piece-03.png", tmp_path / "posts")
    folder = str(tmp_path / "data")
    begun = await mapseek("archive", tmp_path / "posts", MAPSEEK_MODEL="mapseek-untrained", MAPSEEK_DATA_DIR=folder)
    assert begun.code == 0, begun.err
    shown = await mapseek("find", pictures / "piece-03.png", MAPSEEK_DATA_DIR=folder)
    assert shown.code == 0, shown.err
    assert "match (untrained model)" in shown.out


@pytest.mark.usefixtures("archived")
async def test_another_model_is_refused_on_an_archive_that_has_one(pictures: Path, archive_folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    await asyncio.to_thread(shutil.copytree, archive_folder, copy, ignore=shutil.ignore_patterns("server.*"))
    other = await mapseek("find", pictures / "piece-03.png", MAPSEEK_MODEL="ViT-S-32-alt", MAPSEEK_DATA_DIR=str(copy))
    assert other.code == 1
    assert "but this archive answers with mapseek-small (art-v1)" in other.err
    assert len(other.err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "environment", "sentence"),
    [
        (["status"], {"NATS_URL": "nats://127.0.0.1:1"}, "No NATS server answers at nats://127.0.0.1:1"),
        (["archive", "/nonexistent-folder"], {"MAPSEEK_CHANNELS": "general"}, "MAPSEEK_CHANNELS is wrong: 'general'"),
        (["archive", "."], {"MAPSEEK_BATCH_SIZE": "0"}, "MAPSEEK_BATCH_SIZE is wrong"),
    ],
)
async def test_a_mistake_is_one_sentence(
    arguments: list[str], environment: dict[str, str], sentence: str, tmp_path: Path, pictures: Path
) -> None:
    data = {"MAPSEEK_DATA_DIR": str(tmp_path / "data")} | environment
    arguments = [str(pictures) if argument == "." else argument for argument in arguments]
    result = await mapseek(*arguments, **data)
    assert result.code == 1
    assert sentence in result.err
    assert result.err.startswith("mapseek: ")
    assert len(result.err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["find", "GONE"], "GONE cannot be read (No such file or directory)"),
        (["find", "--json", "FOLDER"], "FOLDER cannot be read (Is a directory)"),
        (["find", "GONE", "FOLDER", "GONE"], "None of the 3 files can be read, the first is GONE (No such file or directory)"),
        (["archive", "GONE"], "GONE cannot be read (No such file or directory)"),
        (["archive", "FOLDER"], "There is no image in FOLDER"),
        (["export", "GONE/archive.db"], "The archive GONE/archive.db cannot be"),
        (["import", "GONE"], "There is no archive at GONE"),
        (["import", "FOLDER"], "There is no archive at FOLDER"),
        (["compare", "g1", "g2", "--queries", "GONE"], "GONE/queries.csv cannot be read"),
        (["compare", "g1", "g2", "--queries", "HELD"], "The picture HELD/gone.png cannot be read (No such file or directory)"),
        (
            ["compare", "g1", "g2", "--report", "HELD/queries.csv"],
            "The report cannot be written to HELD/queries.csv (Not a directory)",
        ),
        (["demo", "--report", "HELD/queries.csv"], "The report cannot be written to HELD/queries.csv (Not a directory)"),
        (
            ["replay", "--encoder", "ViT-B-32", "--pretrained", "GONE"],
            "There is no checkpoint file GONE: correct the path in --pretrained",
        ),
    ],
)
async def test_a_wrong_path_is_reported_before_anything_is_started(arguments: list[str], sentence: str, tmp_path: Path) -> None:
    places = {"GONE": tmp_path / "gone", "FOLDER": tmp_path / "folder", "HELD": tmp_path / "held"}
    places["FOLDER"].mkdir()
    places["HELD"].mkdir()
    (places["HELD"] / "queries.csv").write_text("file,expected\ngone.png,\n")

    def create_file(text: str) -> str:
        return re.sub("GONE|FOLDER|HELD", lambda found: str(places[found[0]]), text)

    # An archive on which no server can be started, so that a command which tries to fails with another message.
    server = tmp_path / "data" / "nats"
    (server / "store").mkdir(parents=True)
    with (server / "server.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        result = await mapseek(*map(create_file, arguments), MAPSEEK_DATA_DIR=str(tmp_path / "data"))
    assert (result.code, result.out) == (1, "")
    assert result.err.startswith("mapseek: ")
    assert create_file(sentence) in result.err
    assert len(result.err.strip().splitlines()) == 1


async def test_a_guild_that_cannot_be_a_subject_is_a_usage_error(tmp_path: Path) -> None:
    result = await mapseek("find", "--guild", "my guild", tmp_path / "any.png", MAPSEEK_DATA_DIR=str(tmp_path))
    assert result.code == 2
    assert "letters, digits, hyphens or underscores" in result.err


@pytest.mark.parametrize(
    "command",
    [
        *(
            "status",
            "status --json",
            "audit",
            "generations",
            "failures list",
            "trace 123",
            "topology diff",
            "rebuild index --verify",
        ),
        *("sweep --dry-run", "export ARCHIVE", "find PICTURE", "compare g1 g2", "replay --encoder mapseek-small", "activate g1"),
    ],
)
async def test_a_command_reports_a_missing_archive_and_creates_none(command: str, tmp_path: Path, pictures: Path) -> None:
    data, archive = tmp_path / "data", tmp_path / "archive.db"
    places = {"ARCHIVE": archive, "PICTURE": pictures / "piece-03.png"}
    result = await mapseek(*(places.get(word, word) for word in command.split()), MAPSEEK_DATA_DIR=str(data))
    said = f"mapseek: There is no archive in {data} yet: run `mapseek up` or `mapseek archive` to create one.\n"
    assert result == Result(1, "", said)
    assert not data.exists()
    assert not archive.exists()


async def test_run_without_a_log_server_is_one_sentence(tmp_path: Path) -> None:
    result = await mapseek("run", "download", MAPSEEK_DATA_DIR=str(tmp_path))
    assert result.code == 1
    assert "set NATS_URL, or start `mapseek up`" in result.err
    assert list(tmp_path.iterdir()) == []
