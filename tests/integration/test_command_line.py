"""`mapseek` as a person runs it: in a process of its own, with its exit code, its answers and its one-sentence errors."""

import asyncio
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import orjson
import pytest

from infra.art.distort import jpeg, reencode, resize
from infra.art.generate import piece

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
    out, err = await asyncio.wait_for(process.communicate(), 100)
    return Result(process.returncode or 0, out.decode(), err.decode())


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for seed in range(12):
        piece(seed).save(folder / f"piece-{seed:02}.png")
    return folder


@pytest.fixture(scope="module")
def archive_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(autouse=True)
def _data_dir(archive_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAPSEEK_DATA_DIR", str(archive_folder))


async def test_archive_then_find_from_the_command_line(pictures: Path, archive_folder: Path, tmp_path: Path) -> None:
    (pictures / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n truncated")
    first = await mapseek("archive", pictures)
    assert first.code == 1
    assert "broken.png: The picture is damaged" in first.err
    assert "12 archived, 1 not." in first.err
    (pictures / "broken.png").unlink()

    again = await mapseek("archive", pictures)
    assert (again.code, again.out) == (0, "")
    assert "12 archived, 0 not." in again.err

    queries = []
    for seed in (3, 7, 5):
        path = tmp_path / f"question-{seed}.jpg"
        path.write_bytes(jpeg(resize(reencode(piece(seed), 50), 0.5), 50))
        queries.append(path)
    stranger = tmp_path / "stranger.png"
    piece(9_001).save(stranger)
    text = tmp_path / "text.png"
    text.write_text("not a picture")
    asked = await mapseek("find", "--json", *queries, stranger, text, tmp_path / "missing.png")
    assert asked.code == 1
    assert "untrained" in asked.err
    answers = [orjson.loads(line) for line in asked.out.splitlines()]
    assert [answer["query"] for answer in answers] == [str(path) for path in (*queries, stranger, text, tmp_path / "missing.png")]
    assert [answer["verdict"] for answer in answers] == ["match", "match", "match", "none", "error", "error"]
    assert [answer["matches"][0]["filename"] for answer in answers[:3]] == ["piece-03.png", "piece-07.png", "piece-05.png"]
    best = answers[0]["matches"][0]
    assert set(best) == {"image_id", "score", "message_link", "image_url", "author", "posted_at", "filename"}
    assert best["message_link"] == (pictures / "piece-03.png").as_uri()
    assert set(answers[0]) == {"query", "verdict", "matches", "elapsed_ms"}
    assert answers[3]["matches"] == []
    assert "No such file" in answers[5]["error"]

    shown = await mapseek("find", queries[0])
    assert shown.code == 0
    assert "match (untrained model)" in shown.out
    assert (pictures / "piece-03.png").as_uri() in shown.out

    elsewhere = await mapseek("find", "--json", "--guild", "another", queries[0])
    assert orjson.loads(elsewhere.out)["verdict"] == "none"

    status = await mapseek("status", "--json")
    rows = {(row["stage"], row["lane"]): row for row in orjson.loads(status.out)}
    assert rows["download", "image"]["done"] == 13
    assert rows["embed", "image"]["done"] == 12
    assert rows["reply", "search"]["done"] == 7
    assert all(row["pending"] == row["in_flight"] == row["dead_letters"] == 0 for row in rows.values())

    table = await mapseek("status", COLUMNS="80")
    assert max(map(len, table.out.splitlines())) <= 80
    assert "preprocess" in table.out

    same = await mapseek("topology", "diff")
    assert (same.code, same.out.strip()) == (0, "The server is as this version needs it.")

    other = await mapseek("find", queries[0], MAPSEEK_MODEL="ViT-B-16")
    assert other.code == 1
    assert "This archive was embedded with" in other.err
    assert "Traceback" not in other.err


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


async def test_run_without_a_log_says_where_to_find_one(tmp_path: Path) -> None:
    result = await mapseek("run", "download", MAPSEEK_DATA_DIR=str(tmp_path))
    assert result.code == 1
    assert "set NATS_URL, or start `mapseek up`" in result.err
