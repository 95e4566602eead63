"""What commands print: nothing in it drives the terminal, markup in names is printed as it is, and JSON bears every encoding."""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console, RenderableType
from rich.markup import escape
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from contracts.errors import MapSeekError
from contracts.events import Match
from contracts.text import escape_json
from pipeline.audit.audit import AuditReport
from pipeline.audit.command import print_report
from pipeline.audit.gaps import Gap
from pipeline.cli import app
from pipeline.cli.app import EscapingConsole, build_progress_reporter, print_json, run_app
from pipeline.local.answers import ExplainedAnswer, answer_to_json, format_answer, render_answers_page
from pipeline.local.archive_and_find import LocalAnswer

CONTROLS = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
HOSTILE = "a\x1b[2J\nb\u202e\u2067\x9b\udcff [red]x[/] [bold :smile:"
SHOWN = r"a\x1b[2J\nb\u202e\u2067\x9b\xff [red]x[/] [bold :smile:"
NAMES = st.text(st.one_of(st.characters(exclude_categories=()), st.sampled_from("[]/\\red:#\x1b\n\u202e\udcff")), min_size=1)


def draw(draw_on: Callable[[Console], object]) -> str:
    """Return what a command prints on a console like its own, 500 columns wide and without colours."""
    file = StringIO()
    draw_on(EscapingConsole(file=file, width=500, emoji=False))
    file.getvalue().encode()
    return file.getvalue()


def build_table(name: str) -> Table:
    table = Table("name")
    table.add_row(escape(name))
    return table


@pytest.mark.parametrize(
    "renderable", [Text(f"<{HOSTILE}>"), escape(f"<{HOSTILE}>"), build_table(HOSTILE)], ids=["text", "markup", "table"]
)
def test_whatever_is_printed_has_its_controls_escaped(renderable: RenderableType) -> None:
    printed = draw(lambda console: console.print(renderable))
    assert not CONTROLS.search(printed)
    assert r"a\x1b[2J" in printed
    assert r"b\u202e\u2067\x9b" in printed


@pytest.mark.parametrize("renderable", [Text(HOSTILE), escape(HOSTILE)], ids=["text", "markup"])
def test_markup_and_names_of_emoji_are_printed_as_they_are(renderable: RenderableType) -> None:
    assert draw(lambda console: console.print(renderable)) == SHOWN.replace(r"\n", "\n") + "\n"


def test_colours_of_our_own_are_kept() -> None:
    file = StringIO()
    EscapingConsole(file=file, force_terminal=True, color_system="standard").print("[red]a\x1b[5m[/]", highlight=False)
    assert file.getvalue() == "\x1b[31ma\\x1b[5m\x1b[0m\n"


def test_a_progress_bar_shows_a_name_as_it_is() -> None:
    def show(console: Console) -> None:
        with Progress(console=console) as bars:
            build_progress_reporter(bars)(HOSTILE, 1, 2)

    assert SHOWN.removesuffix(":smile:") in draw(show)


@given(
    st.recursive(
        st.text(st.characters(exclude_categories=["Cs"])), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_json_is_plain_ascii_and_means_the_same(value: object) -> None:
    document = json.dumps(value, ensure_ascii=False)
    if document.encode(errors="ignore").decode() != document:
        return
    for indented in (document, json.dumps(value, ensure_ascii=False, indent=2)):
        assert re.fullmatch(r"[\n -~]*", escape_json(indented))
        assert orjson.loads(escape_json(indented)) == value


def test_json_is_printed_on_one_line_without_markup() -> None:
    printed = draw(lambda console: print_json(orjson.dumps({"name": "[red]\u202e\x7f:smile:" + "x" * 900}).decode(), console))
    assert printed.splitlines() == [r'{"name":"[red]\u202e\u007f:smile:' + "x" * 900 + '"}']


def build_answer(name: str) -> LocalAnswer:
    document = {
        "metadata": {"user_name": name, "filename": name, "upload_timestamp": datetime(2026, 1, 2, tzinfo=UTC).isoformat()},
        "message_link": f"file:///{name}",
        "image_url": None,
    }
    match = Match(image_id="1", score=0.5)
    return LocalAnswer(Path("/x") / name.replace("/", "-").replace("\0", ""), "match", [match], {"1": document}, False, None, 1.0)


@given(NAMES)
def test_an_answer_has_two_lines_whatever_the_names(name: str) -> None:
    answer = build_answer(name)
    printed = draw(lambda console: console.print(*format_answer(answer), sep="\n", highlight=False, soft_wrap=True))
    assert not CONTROLS.search(printed)
    assert len(printed.splitlines()) == 2
    assert not CONTROLS.search(render_answers_page([ExplainedAnswer(answer, None, {})]))


def test_an_answer_shows_markup_and_controls_as_they_are() -> None:
    printed = draw(lambda console: console.print(*format_answer(build_answer(HOSTILE)), sep="\n", highlight=False, soft_wrap=True))
    shown = SHOWN.replace("[/]", "[-]")
    assert printed == f"/x/{shown}: match (untrained model) 1 ms\n  0.5000  {SHOWN} by {SHOWN}, 2026-01-02  file:///{SHOWN}\n"
    assert orjson.dumps(answer_to_json(build_answer("\udcff"))["query"]) == rb'"/x/\\xff"'


def test_the_notes_and_gaps_of_an_audit_are_escaped() -> None:
    gap = Gap("blob", "are not needed", (HOSTILE,), (f"mapseek failures retry {HOSTILE}",), "blob")
    printed = draw(lambda console: print_report(AuditReport("g1", gaps=[gap], notes=[HOSTILE]), console))
    assert not CONTROLS.search(printed)
    assert f"Note: {SHOWN}\n" in printed
    assert f"  {SHOWN}\n" in printed
    assert f"    mapseek failures retry {SHOWN}\n" in printed


def test_an_error_is_one_escaped_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise MapSeekError(f"{HOSTILE} is wrong.")

    file = StringIO()
    monkeypatch.setattr(app, "app", fail)
    monkeypatch.setattr(app, "err", EscapingConsole(file=file, width=500, emoji=False))
    with pytest.raises(SystemExit) as ended:
        run_app()
    assert (ended.value.code, file.getvalue()) == (1, f"mapseek: {SHOWN} is wrong.\n")
