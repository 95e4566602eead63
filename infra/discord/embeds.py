"""The wording and the look of an answer: pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import disnake

from contracts.events import Verdict
from contracts.ports import Answer, Found

SHOWN = 3
"""Matches in one answer: far below Discord's ten embeds and 6,000 characters a message."""

HEADLINES: Mapping[Verdict, str] = {
    "match": "Found it: this picture was posted here before.",
    "possible": "Not certain, but this looks like it.",
    "none": "No match: nothing that you can read in this server looks like this picture.",
    "error": "This picture cannot be searched.",
}
BEST: Mapping[Verdict, str] = {"match": "a match", "possible": "possibly a match"}
COLOURS: Mapping[Verdict, disnake.Colour] = {
    "match": disnake.Colour(0x7FB238),
    "possible": disnake.Colour(0xE5E533),
    "none": disnake.Colour(0x707070),
    "error": disnake.Colour(0xB4372A),
}
UNTRAINED = "untrained model: this result is of demo quality"
LONGEST_NAME = 100
LONGEST_REASON = 1000


@dataclass(frozen=True, slots=True)
class View:
    """A message to show; `files` are WebP pictures by the file name that the embeds refer to."""

    embeds: list[disnake.Embed]
    files: dict[str, bytes]


def answer_view(answer: Answer) -> View:
    """An answer as a message: its verdict in words, then at most three matches, the best one large."""
    found = answer.found[:SHOWN] if answer.verdict in BEST else ()
    summary = disnake.Embed(title=HEADLINES[answer.verdict], description=_reason(answer), colour=COLOURS[answer.verdict])
    embeds = [summary]
    files: dict[str, bytes] = {}
    for rank, match in enumerate(found, start=1):
        embed = _match_embed(match, answer.verdict, rank)
        if match.thumbnail is not None:
            name = f"match-{rank}.webp"
            files[name] = match.thumbnail
            if rank == 1:
                embed.set_image(url=f"attachment://{name}")
            else:
                embed.set_thumbnail(url=f"attachment://{name}")
        embeds.append(embed)
    if not answer.trained and answer.verdict != "error":
        for embed in embeds:
            embed.set_footer(text=UNTRAINED)
    return View(embeds, files)


def plain(text: str, longest: int = LONGEST_NAME) -> str:
    """A member's text on one line, cut, with nothing in it that Discord would format."""
    line = " ".join(text.split())
    cut = line if len(line) <= longest else line[: longest - 1] + "…"
    return disnake.utils.escape_mentions(disnake.utils.escape_markdown(cut, ignore_links=False))


def percentage(score: float) -> str:
    """A similarity as a whole percentage, rounded down so that only equality shows as 100."""
    return f"{int(max(score, 0.0) * 100 + 1e-6)} %"


def _reason(answer: Answer) -> str | None:
    return plain(answer.problem.reason, LONGEST_REASON) if answer.problem else None


def _match_embed(match: Found, verdict: Verdict, rank: int) -> disnake.Embed:
    document, metadata = match.document, match.document["metadata"]
    posted_at = datetime.fromisoformat(metadata["upload_timestamp"])
    similarity = f"**{percentage(match.score)}** similar" + (f", {BEST[verdict]}" if rank == 1 else "")
    date, ago = disnake.utils.format_dt(posted_at, "D"), disnake.utils.format_dt(posted_at, "R")
    return disnake.Embed(
        title=f"{rank}. Go to the message",
        url=document["message_link"],
        description=f"{similarity}\nPosted by **{plain(metadata['user_name'])}** on {date} ({ago})\n{plain(metadata['filename'])}",
        colour=COLOURS[verdict] if rank == 1 else COLOURS["none"],
    )
