"""Render a message as HTML, much as Discord's client shows it."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Any

from infra.sandbox.simulator.client import VisibleAnswer
from infra.sandbox.simulator.model import Message
from pipeline.cli.paths import to_data_uri

ChannelNames = Mapping[str, str]


def render_message(seen: VisibleAnswer | Message, channels: ChannelNames) -> str:
    """Return a message with its text, embeds and buttons. `channels` are names by id."""
    attached = seen.attachments if isinstance(seen, VisibleAnswer) else [(each.filename, each.data) for each in seen.attachments]
    files = {name: to_data_uri(data, "webp") for name, data in attached}
    text = f"<p>{_render_markdown(seen.content, channels)}</p>" if seen.content else ""
    return text + "".join(_render_embed(embed, files, channels) for embed in seen.embeds) + _render_buttons(seen.components)


def _render_buttons(rows: Sequence[dict[str, Any]]) -> str:
    kinds = {1: "primary", 3: "success", 4: "danger"}
    shown = ""
    for row in rows:
        for button in row["components"]:
            look = "off" if button.get("disabled") else kinds.get(button["style"], "")
            emoji = escape(str((button.get("emoji") or {}).get("name") or ""))
            shown += f'<span class="button {look}">{emoji} {escape(str(button.get("label") or ""))}</span>'
        shown += "<br>"
    return shown


def _render_embed(embed: dict[str, Any], files: dict[str, str], channels: ChannelNames) -> str:
    title = escape(str(embed.get("title", "")))
    if url := embed.get("url"):
        title = f'<a href="{escape(str(url))}">{title}</a>'
    thumb = _render_image(embed.get("thumbnail"), files, "thumb")
    large = _render_image(embed.get("image"), files, "large")
    fields = "".join(
        f'<p class="field"><b>{_render_markdown(str(field["name"]), channels)}</b><br>'
        f"{_render_markdown(str(field['value']), channels)}</p>"
        for field in embed.get("fields") or []
    )
    footer = embed.get("footer", {}).get("text")
    return (
        f'<div class="embed" style="--c: #{int(embed.get("color") or 0):06x}">{thumb}<b class="title">{title}</b>'
        f"{_render_markdown(str(embed.get('description') or ''), channels)}{fields}{large}"
        + (f'<div class="footer">{escape(str(footer))}</div>' if footer else "")
        + "</div>"
    )


def _render_image(picture: dict[str, Any] | None, files: dict[str, str], kind: str) -> str:
    name = str((picture or {}).get("url", "")).split("?")[0].rpartition("/")[2]
    return f'<img class="{kind}" alt="the archived picture" src="{files[name]}">' if name in files else ""


def _render_markdown(text: str, channels: ChannelNames) -> str:
    """Render the part of Discord's markup that the bot uses: bold, links, channels and timestamps."""
    shown = escape(text)
    shown = re.sub(r"\[([^\]]+)\]\((https?://[^\s)]+)\)", r'<a href="\2">\1</a>', shown)
    shown = re.sub(r'(?<!")(https?://[^\s<]+)', r'<a href="\1">\1</a>', shown)
    shown = re.sub(
        r"&lt;#(\d+)&gt;", lambda found: f'<span class="channel">#{escape(channels.get(found[1], "unknown"))}</span>', shown
    )
    shown = re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", shown)
    shown = re.sub(r" \(&lt;t:\d+:R&gt;\)", "", shown)
    shown = re.sub(r"&lt;t:(\d+):[DR]&gt;", lambda found: _format_date(int(found[1])), shown)
    return re.sub(r"\\([*_~`|>\\])", r"\1", shown).replace("\n", "<br>")


def _format_date(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%-d %B %Y")
