"""tests/pictures draws the pictures of the README from the content of messages, and from nothing else."""

from dataclasses import replace
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from infra.sandbox.simulator import Simulator, VisibleAnswer
from pipeline.demo.message_html import Reader, render_markdown
from tests.pictures import __main__ as pictures
from tests.pictures.look import render_page

NOW = datetime(2026, 11, 30, tzinfo=UTC)
ENGLISH, GERMAN = Reader({"7": "gallery", "8": "Alex"}, "en", NOW), Reader({"7": "gallery"}, "de", NOW)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("**9%** match", "<b>9%</b> match"),
        ("<script> & co", "&lt;script&gt; &amp; co"),
        (r"\*\*not bold\*\*", "**not bold**"),
        ("`/forget me`", "<code>/forget me</code>"),
        ("[go](https://a.example/b)", '<a href="https://a.example/b">go</a>'),
        (
            "<#7> <#9> <@8>",
            '<span class="mention">#gallery</span> <span class="mention">#unknown</span> <span class="mention">@Alex</span>',
        ),
        ("one\ntwo", "one<br>two"),
    ],
)
def test_discords_markup_is_rendered(text: str, shown: str) -> None:
    assert render_markdown(text, ENGLISH) == shown


@pytest.mark.parametrize(
    ("reader", "day", "ago"), [(ENGLISH, "March 2, 2024", "3 years ago"), (GERMAN, "2. März 2024", "vor 3 Jahren")]
)
def test_timestamps_are_in_the_readers_language(reader: Reader, day: str, ago: str) -> None:
    assert f">{day}<" in render_markdown("<t:1709403600:D>", reader)
    assert f">{ago}<" in render_markdown("<t:1709403600:R>", reader)


@pytest.fixture
async def answer() -> VisibleAnswer:
    async with Simulator() as discord:
        guild = discord.add_guild("Cartographers")
        member = discord.add_member(guild, "Steve")
        message = await discord.post(discord.add_text_channel(guild, "gallery"), member, "look")
    return VisibleAnswer(
        content="",
        embeds=[
            {"title": "Found <it>", "description": "**9%** match", "color": 255, "image": {"url": "https://cdn/map.webp?ex=1"}}
        ],
        attachments=[("map.webp", b"webp")],
        flags=0,
        edits=0,
        deferred_after_s=None,
        answered_after_s=0.1,
        components=[{"type": 1, "components": [{"type": 2, "style": 5, "label": "Go", "url": "https://a.example"}]}],
        message=message,
    )


def test_a_message_is_rendered_with_its_picture_and_its_buttons(answer: VisibleAnswer) -> None:
    light, dark = render_page([answer], ENGLISH, "light"), render_page([answer], ENGLISH, "dark")
    for part in (
        "Found &lt;it&gt;",
        "<b>9%</b> match",
        "data:image/webp;base64,d2VicA==",
        "--colour: #0000ff",
        ">Go<svg",
        ">Steve<",
    ):
        assert part in light
    assert light != dark
    assert light.partition("</style>")[2] == dark.partition("</style>")[2]
    assert "<img" not in render_page([replace(answer, attachments=[])], ENGLISH, "light")


@pytest.mark.parametrize(("name", "covered"), [("SPOILER_map.webp", True), ("map-2.webp", False)])
def test_a_picture_that_no_embed_shows_is_above_them_and_a_spoiler_is_covered(
    answer: VisibleAnswer, name: str, covered: bool
) -> None:
    page = render_page([replace(answer, attachments=[(name, b"other"), ("map.webp", b"webp")])], ENGLISH, "dark")
    shown = page.partition("</style>")[2]
    assert shown.count("<img") == 2
    assert shown.index("b3RoZXI=") < shown.index('class="embed"') < shown.index("d2VicA==")
    assert ('class="spoiler"' in shown, "<b>SPOILER</b>" in shown) == (covered, covered)


def test_the_empty_space_is_cut_off() -> None:
    sheet = Image.new("RGB", (800, 600), "white")
    ImageDraw.Draw(sheet).rectangle((20, 20, 300, 200), "red")
    cut = Image.open(BytesIO(pictures.crop_and_encode(sheet)))
    margin = pictures.MARGIN_PX * pictures.SCALE
    assert (cut.format, cut.size) == ("PNG", (301 + margin, 201 + margin))
    with pytest.raises(ValueError, match="empty"):
        pictures.crop_and_encode(Image.new("RGB", (8, 8), "white"))


def test_a_missing_chromium_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SystemExit, match="There is no Chromium: install it"):
        pictures.main(out=tmp_path / "images", only="", chromium="")
    assert not (tmp_path / "images").exists()
