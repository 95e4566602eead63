"""How a back-fill looks: pure."""

from typing import Any

import disnake

from contracts.state import Backfill
from infra.discord.answers.buttons import BACKFILL, custom_id
from infra.discord.archiving.progress import bar, progress_of
from infra.discord.wording import say

COLOURS = {"running": 0x4C7FFF, "paused": 0xE5E533, "cancelled": 0x707070, "finished": 0x7FB238}
BUTTONS: dict[str, tuple[str, ...]] = {"running": ("pause", "cancel"), "paused": ("resume", "cancel")}
STYLES = {"cancel": disnake.ButtonStyle.danger, "resume": disnake.ButtonStyle.success}


def view_of(backfill: Backfill) -> dict[str, Any]:
    """The embed and the buttons of a back-fill, as arguments of a message's edit."""
    locale, progress = backfill.locale, progress_of(backfill)
    lines = [
        say(locale, f"archive-backfill-{backfill.state}", channel=f"<#{backfill.channel_id}>"),
        f"{bar(progress.fraction)} {progress.fraction:.0%}",
        say(locale, "archive-backfill-counts", messages=backfill.messages, images=backfill.images),
    ]
    if backfill.state == "running":
        lines.append(_pace(backfill))
    if backfill.unreadable:
        names = " ".join(f"<#{each}>" for each in backfill.unreadable[:10])
        lines.append(say(locale, "archive-backfill-unreadable", count=len(backfill.unreadable), channels=names))
    return {"embed": _embed(backfill, "\n".join(lines)), "components": _buttons(backfill)}


def moved_view(backfill: Backfill, link: str) -> dict[str, Any]:
    """What is left in the place of the command's answer once a fresh message has taken over."""
    return {"embed": _embed(backfill, say(backfill.locale, "archive-backfill-moved", link=link)), "components": []}


def silent_view(backfill: Backfill) -> dict[str, Any]:
    """The last words of an answer that no message can follow."""
    return {"embed": _embed(backfill, say(backfill.locale, "archive-backfill-silent")), "components": []}


def duration(locale: str, seconds: float) -> str:
    """A span of time in its largest unit."""
    for unit, size in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * size:
            return say(locale, "archive-duration", unit=unit, count=round(seconds / size))
    return say(locale, "archive-duration", unit="seconds", count=max(1, round(seconds)))


def _pace(backfill: Backfill) -> str:
    progress = progress_of(backfill)
    if progress.left_s is None:
        return say(backfill.locale, "archive-backfill-beginning")
    left = duration(backfill.locale, progress.left_s)
    return say(backfill.locale, "archive-backfill-pace", rate=round(progress.per_second), left=left)


def _embed(backfill: Backfill, text: str) -> disnake.Embed:
    title = say(backfill.locale, "archive-backfill-title")
    return disnake.Embed(title=title, description=text, colour=disnake.Colour(COLOURS[backfill.state]))


def _buttons(backfill: Backfill) -> list[disnake.ui.Button[None]]:
    return [
        disnake.ui.Button(
            label=say(backfill.locale, f"archive-button-{action}"),
            style=STYLES.get(action, disnake.ButtonStyle.secondary),
            custom_id=custom_id(BACKFILL, action, backfill.channel_id),
        )
        for action in BUTTONS.get(backfill.state, ())
    ]
