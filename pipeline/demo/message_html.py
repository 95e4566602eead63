"""Render a message of the simulated Discord as HTML, much as Discord's client shows it.

Everything that is shown comes from the message: author, text, embeds, files, buttons. The APP tag is Discord's own. The page that
the message is on brings the style sheet.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from typing import Any, Literal

from babel.dates import format_date, format_datetime, format_timedelta

from infra.discord.answers.embeds import SPOILER_PREFIX
from infra.sandbox.simulator.client import VisibleAnswer
from infra.sandbox.simulator.model import Message
from pipeline.cli.paths import to_data_uri

BUTTON_CLASSES = {1: "primary", 2: "secondary", 3: "success", 4: "danger", 5: "secondary"}
"""Discord's button style -> class in the style sheet."""

SPOILER_CSS = """
.attached { display: block; max-width: min(100%, 400px); max-height: 300px; border-radius: 4px; margin-top: 5px; }
.spoiler { position: relative; display: table; overflow: hidden; border-radius: 4px; margin-top: 5px; cursor: pointer; }
.spoiler .attached { filter: blur(32px); min-width: 120px; min-height: 60px; margin: 0; }
.spoiler b { position: absolute; inset: 0; margin: auto; width: fit-content; height: fit-content; padding: 5px 12px;
  border-radius: 16px; background: #000b; color: #fff; font-size: 14px; }
.spoiler :checked ~ .attached { filter: none; } .spoiler :checked ~ b { display: none; }
"""
"""How attached pictures and spoilers are shown. Each page with messages has it in its style sheet."""

LINK_ARROW = (
    '<svg viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="2.4" stroke-linecap="round" stroke-linejoin="round">'
    '<path d="M15 3h6v6M21 3 11 13M18 14v5a2 2 0 0 1-2 2H5a2 2 0 0 1-2-2V8a2 2 0 0 1 2-2h5"/></svg>'
)
"""The arrow on a button that opens a link."""


@dataclass(frozen=True, slots=True)
class Reader:
    """Who looks at a message: what channels and members are called by their ids, in which language, and when."""

    names: Mapping[str, str]
    language: Literal["en", "de"]
    now: datetime


def render_message(seen: VisibleAnswer | Message, reader: Reader) -> str:
    """Return a message with its text, embeds and buttons."""
    attached = seen.attachments if isinstance(seen, VisibleAnswer) else [(each.filename, each.data) for each in seen.attachments]
    files = {name: to_data_uri(data, name.rpartition(".")[2]) for name, data in attached}
    text = f"<div>{render_markdown(seen.content, reader)}</div>" if seen.content else ""
    text += "".join(_render_attached(name, data) for name, data in files.items() if name not in _list_embedded(seen.embeds))
    return text + "".join(_render_embed(embed, files, reader) for embed in seen.embeds) + _render_rows(seen.components)


def _list_embedded(embeds: Sequence[Mapping[str, Any]]) -> set[str]:
    """List the names of the files that embeds show."""
    return {_shown_file(embed.get(part)) for embed in embeds for part in ("image", "thumbnail")}


def _shown_file(shown: Mapping[str, Any] | None) -> str:
    return str((shown or {}).get("url", "")).split("?")[0].rpartition("/")[2]


def _render_attached(name: str, picture: str) -> str:
    """Render a picture that no embed shows. A spoiler is blurred under a cover until the reader clicks on it."""
    if not name.startswith(SPOILER_PREFIX):
        return f'<img class="attached" alt="the attached picture" src="{picture}">'
    return (
        '<label class="spoiler"><input type="checkbox" hidden>'
        f'<img class="attached" alt="a covered picture" src="{picture}"><b>SPOILER</b></label>'
    )


def _render_embed(embed: Mapping[str, Any], files: Mapping[str, str], reader: Reader) -> str:
    title = render_markdown(str(embed.get("title") or ""), reader)
    if url := embed.get("url"):
        title = f'<a href="{escape(str(url))}">{title}</a>'
    fields = "".join(_render_field(field, reader) for field in embed.get("fields") or [])
    colour = embed.get("color")
    parts = [
        f'<div class="title">{title}</div>' if title else "",
        f"<div>{render_markdown(str(embed['description']), reader)}</div>" if embed.get("description") else "",
        fields,
        _render_picture(embed.get("thumbnail"), files, "thumb"),
        _render_picture(embed.get("image"), files, "large"),
        f'<div class="footer">{escape(str(embed["footer"]["text"]))}</div>' if embed.get("footer") else "",
    ]
    edge = "var(--edge)" if colour is None else f"#{int(colour):06x}"
    return f'<div class="embed" style="--colour: {edge}">{"".join(parts)}</div>'


def _render_field(field: Mapping[str, Any], reader: Reader) -> str:
    name, value = (render_markdown(str(field[part]), reader) for part in ("name", "value"))
    return f'<div class="field"><b>{name}</b>{value}</div>'


def _render_picture(shown: Mapping[str, Any] | None, files: Mapping[str, str], kind: str) -> str:
    name = _shown_file(shown)
    return f'<img class="{kind}" alt="the archived picture" src="{files[name]}">' if name in files else ""


def _render_rows(rows: Sequence[Mapping[str, Any]]) -> str:
    return "".join(f'<div class="row">{"".join(_render_button(button) for button in row["components"])}</div>' for row in rows)


def _render_button(button: Mapping[str, Any]) -> str:
    off = " off" if button.get("disabled") else ""
    emoji = escape(str((button.get("emoji") or {}).get("name") or ""))
    arrow = LINK_ARROW if button.get("url") else ""
    return (
        f'<span class="button {BUTTON_CLASSES[button["style"]]}{off}">{emoji}{escape(str(button.get("label") or ""))}{arrow}</span>'
    )


def render_markdown(text: str, reader: Reader) -> str:
    """Return the part of Discord's markup that the bot uses as HTML: bold, code, links, mentions and timestamps."""
    shown = escape(text, quote=False)
    shown = re.sub(r"\[([^\]]+)\]\((https?://[^\s)]+)\)", r'<a href="\2">\1</a>', shown)
    shown = re.sub(r'(?<!")(https?://[^\s<]+)', r'<a href="\1">\1</a>', shown)
    shown = re.sub(r"&lt;#(\d+)&gt;", lambda found: _render_mention("#", found[1], reader), shown)
    shown = re.sub(r"&lt;@(\d+)&gt;", lambda found: _render_mention("@", found[1], reader), shown)
    shown = re.sub(r"&lt;t:(\d+):([DR])&gt;", lambda found: _render_time(int(found[1]), found[2], reader), shown)
    shown = re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", shown)
    shown = re.sub(r"`(.+?)`", r"<code>\1</code>", shown)
    return re.sub(r"\\([*_~`|>\\\[\]])", r"\1", shown).replace("\n", "<br>")


def _render_mention(mark: str, found: str, reader: Reader) -> str:
    return f'<span class="mention">{mark}{escape(reader.names.get(found, "unknown"))}</span>'


def _render_time(seconds: int, style: str, reader: Reader) -> str:
    moment = datetime.fromtimestamp(seconds, UTC)
    exact = escape(format_datetime(moment, "full", locale=reader.language))
    if style == "D":
        shown = format_date(moment, "long", locale=reader.language)
    else:
        shown = format_timedelta(moment - reader.now, add_direction=True, threshold=1, locale=reader.language)
    return f'<span class="time" title="{exact}">{escape(shown)}</span>'
