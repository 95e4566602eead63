"""A message of the simulated Discord as HTML that looks like Discord's client, in its dark and its light theme.

Everything that is shown comes from the message: author, text, embeds, files, buttons. The APP tag is Discord's own.
"""

import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from typing import Any, Literal

from babel.dates import format_date, format_datetime, format_timedelta

from infra.sandbox.simulator import VisibleAnswer

Theme = Literal["light", "dark"]
THEMES: tuple[Theme, ...] = ("light", "dark")

BUTTON_STYLES = {1: "primary", 2: "secondary", 3: "success", 4: "danger", 5: "secondary"}

THEME_COLOURS: Mapping[Theme, str] = {
    "dark": "--page: #313338; --embed: #2b2d31; --edge: #1e1f22; --text: #dbdee1; --strong: #f2f3f5; --dim: #949ba4;"
    "--link: #00a8fc; --mention: #3c4270; --mention-text: #c9cdfb; --time: #3f4147;"
    "--secondary: #4e5058; --secondary-text: #fff;",
    "light": "--page: #fff; --embed: #f2f3f5; --edge: #e3e5e8; --text: #313338; --strong: #060607; --dim: #5c5e66;"
    "--link: #006ce7; --mention: #e6e8fd; --mention-text: #4752c4; --time: #e9eaed;"
    "--secondary: #e3e5e8; --secondary-text: #1e1f22;",
}

PAGE_STYLE = """
* { box-sizing: border-box; }
body { margin: 0; padding: 16px 16px 18px; background: var(--page); color: var(--text);
  font: 15px/1.375 "gg sans", "Noto Sans", "Helvetica Neue", Helvetica, Arial, sans-serif; }
a { color: var(--link); text-decoration: none; }
b { font-weight: 600; }
.message { display: grid; grid-template-columns: 40px minmax(0, 1fr); column-gap: 14px; }
.message + .message { margin-top: 4px; }
.avatar { width: 40px; height: 40px; border-radius: 50%; background: #5865f2; color: #fff; display: grid; place-items: center;
  font-weight: 600; font-size: 18px; }
.name { font-weight: 500; color: var(--strong); }
.tag { background: #5865f2; color: #fff; border-radius: 4px; padding: 1px 5px; font-size: 10.5px; font-weight: 600;
  vertical-align: 2px; margin-left: 4px; }
.embed { background: var(--embed); border: 1px solid var(--edge); border-left: 4px solid var(--colour); border-radius: 4px;
  padding: 10px 14px 14px 12px; margin-top: 5px; max-width: 520px; width: fit-content; min-width: 240px; display: grid;
  grid-template-columns: minmax(0, 1fr) auto; column-gap: 16px; overflow-wrap: anywhere; font-size: 14px; }
.embed > * { grid-column: 1; }
.embed .title { font-weight: 600; font-size: 15.5px; color: var(--strong); margin-bottom: 4px; }
.embed .field { margin-top: 8px; }
.embed .field b { color: var(--strong); display: block; }
.embed .thumb { grid-column: 2; grid-row: 1 / 9; max-width: 80px; max-height: 80px; border-radius: 4px; margin-top: 4px; }
.embed .large { grid-column: 1 / 3; max-width: min(100%, 400px); max-height: 300px; border-radius: 4px; margin-top: 12px; }
.embed .footer { grid-column: 1 / 3; font-size: 12px; color: var(--dim); margin-top: 8px; }
.mention { background: var(--mention); color: var(--mention-text); border-radius: 3px; padding: 0 2px; font-weight: 500;
  white-space: nowrap; }
.time { background: var(--time); border-radius: 3px; padding: 0 2px; }
code { background: var(--edge); border-radius: 3px; padding: 0 3px; font-size: 13px; }
.row { display: flex; flex-wrap: wrap; gap: 8px; margin-top: 8px; }
.button { border-radius: 8px; padding: 6px 14px; font-size: 14px; font-weight: 500; line-height: 18px; color: #fff; }
.primary { background: #5865f2; } .success { background: #248046; } .danger { background: #da373c; }
.secondary { background: var(--secondary); color: var(--secondary-text); } .off { opacity: .5; }
.button svg { width: 14px; height: 14px; margin-left: 7px; vertical-align: -2px; }
"""

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


def render_page(messages: Sequence[VisibleAnswer], reader: Reader, theme: Theme) -> str:
    """Return the whole HTML page with these messages one below the other."""
    shown = "".join(_render_message(each, reader, with_name=number == 0) for number, each in enumerate(messages))
    return (
        f'<!doctype html><html lang="{reader.language}"><meta charset="utf-8">'
        f"<style>:root {{ {THEME_COLOURS[theme]} }} {PAGE_STYLE}</style>{shown}</html>\n"
    )


def _render_message(seen: VisibleAnswer, reader: Reader, *, with_name: bool) -> str:
    files = {name: _build_data_uri(name, data) for name, data in seen.attachments}
    name = escape(seen.message.author.name)
    avatar = f'<div class="avatar">{name[:1]}</div>' if with_name else "<div></div>"
    head = f'<div><span class="name">{name}</span><span class="tag">APP</span></div>' if with_name else ""
    text = f"<div>{render_markdown(seen.content, reader)}</div>" if seen.content else ""
    embeds = "".join(_render_embed(embed, files, reader) for embed in seen.embeds)
    return f'<div class="message">{avatar}<div>{head}{text}{embeds}{_render_rows(seen.components)}</div></div>'


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
    name = str((shown or {}).get("url", "")).split("?")[0].rpartition("/")[2]
    return f'<img class="{kind}" alt="" src="{files[name]}">' if name in files else ""


def _render_rows(rows: Sequence[Mapping[str, Any]]) -> str:
    return "".join(f'<div class="row">{"".join(_render_button(button) for button in row["components"])}</div>' for row in rows)


def _render_button(button: Mapping[str, Any]) -> str:
    off = " off" if button.get("disabled") else ""
    arrow = LINK_ARROW if button.get("url") else ""
    return f'<span class="button {BUTTON_STYLES[button["style"]]}{off}">{escape(str(button.get("label") or ""))}{arrow}</span>'


def render_markdown(text: str, reader: Reader) -> str:
    """Return the part of Discord's markup that the bot uses as HTML: bold, code, links, mentions and timestamps."""
    shown = escape(text, quote=False)
    shown = re.sub(r"\[([^\]]+)\]\((https?://[^\s)]+)\)", r'<a href="\2">\1</a>', shown)
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


def _build_data_uri(name: str, data: bytes) -> str:
    return f"data:image/{name.rpartition('.')[2]};base64,{b64encode(data).decode()}"
