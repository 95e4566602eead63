"""`mapseek demo`: its exit code, its table, and a report that loads nothing from outside."""

import asyncio
import io
import json
import re
import sys
from collections.abc import AsyncIterator
from html import unescape
from pathlib import Path

import pytest
from rich.console import Console

from pipeline.demo import command, play, scenes, script
from pipeline.demo.play import AskedQuery
from pipeline.demo.scenes import DemoScene
from pipeline.demo.script import PIECE_COUNT, list_demo_queries, list_posts
from pipeline.logging import configure_logging
from tests.support.log_list import find_unlisted
from tests.tree import PACKAGES


@pytest.mark.usefixtures("restored_loggers")
async def test_a_demo_of_eight_pieces_and_three_searches_goes_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The whole demo but the takeover of a new model, which starts several programs in sequence."""
    few = script.list_posts()[:8]

    async def no_takeover(*_: object) -> AsyncIterator[DemoScene]:
        for scene in ():
            yield scene

    for module in (command, scenes):
        monkeypatch.setattr(module, "PIECE_COUNT", len(few))
    for module in (play, scenes):
        monkeypatch.setattr(module, "DEMO_TIMEOUT_S", 30.0)
    monkeypatch.setattr(play, "list_posts", lambda: few)
    forgotten = [post.seed for post in few if (post.guild, post.member) == (scenes.HOME_GUILD, script.FORGETFUL_MEMBER)]
    assert forgotten
    monkeypatch.setattr(scenes, "FORGOTTEN_SEEDS", forgotten)
    asked = [each for each in list_demo_queries() if each.seed < len(few) and each.answer is not None]
    chosen = [asked[0], next(each for each in asked if each.distortion in script.QUERY_SCENES), list_demo_queries()[-1]]
    monkeypatch.setattr(command, "list_demo_queries", lambda: chosen)
    monkeypatch.setattr(command, "take_over", no_takeover)
    configure_logging("json", "debug")
    out = io.StringIO()
    assert await command.run_demo(tmp_path, Console(file=out, width=200)) == 0, out.getvalue()
    lines = [line for line in map(json.loads, capsys.readouterr().err.splitlines()) if line["logger"].startswith(PACKAGES)]
    assert {"search_requested", "fact_recorded", "message_handled"} <= {line["event"] for line in lines}
    assert find_unlisted(lines) == []
    assert "8 of 8 posted pieces are archived; 3 of 3 searches answered, 3 rightly." in out.getvalue()
    report = (tmp_path / "index.html").read_text()
    assert report.count("<article>") == 3
    assert re.findall(r'(?:src|href)="(?!data:|https://discord\.com/channels/)', report) == []


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_the_demo_archives_every_piece_answers_every_question_and_changes_the_model(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name("mapseek")),
        *("demo", "--report", str(tmp_path)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), 220)
    finally:
        if process.returncode is None:
            process.kill()
    text = output.decode()
    assert process.returncode == 0, text
    assert f"{PIECE_COUNT} of {PIECE_COUNT} posted pieces are archived; 28 of 28 searches answered" in text
    report = (tmp_path / "index.html").read_text()
    assert report.count("<article>") == 28
    assert re.findall(r'(?:src|href)="(?!data:|https://discord\.com/channels/)', report) == []
    assert report.count('<span class="right">') >= 28
    assert report.count('class="why"') >= 6
    takeover = unescape(report.partition("<h1>A new model takes over</h1>")[2])
    assert takeover.count('<span class="right">') == 6
    assert "$ mapseek activate g2" in takeover
    assert "answered from g2" in takeover
    assert "Clean: everything is where it should be." in takeover
    assert (tmp_path / "comparison" / "index.html").exists()


def test_a_question_without_an_answer_is_not_right() -> None:
    asked = AskedQuery(list_demo_queries()[0], b"", None, "https://discord.com/channels/1/2/3", 0)
    assert (asked.verdict, asked.link, asked.right) == ("no answer", None, False)


def test_the_script_posts_in_two_guilds_and_asks_about_posted_and_unposted_pictures() -> None:
    assert len({post.guild for post in list_posts()}) == 2
    assert len(list_posts()) == PIECE_COUNT
    assert len(list_demo_queries()) == 28
    assert sum(query.answer is None for query in list_demo_queries()) == 5
