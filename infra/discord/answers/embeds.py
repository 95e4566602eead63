"""Renders an answer as a Discord message, one piece of map art a page, without I/O.

The texts come from the message catalogues, the buttons from `buttons`. `format_reason` also serves the command line.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

import disnake
from disnake.ui import MessageActionRow

from contracts.errors import RejectCode
from contracts.events import Evidence, Panel, SearchRejected, Verdict
from contracts.ports import AnswerPage, FoundPost, Piece, is_spoiler
from contracts.text import escape_controls
from infra.discord.answers.buttons import (
    POSTS_PER_PAGE,
    build_no_match_row,
    build_piece_rows,
    build_posts_rows,
    last_page_number,
    web_link,
)
from infra.discord.wording import localize

EXACT_COPY_AGREEMENT = 0.99
"""The agreement of two aligned pictures from which one is called an exact copy of the other."""

PARTIAL_BELOW = 0.9
"""The share of a picture that must be visible in the query. Below it the answer says that only a part is visible."""

VERDICT_COLOURS: Mapping[Verdict, disnake.Colour] = {
    "match": disnake.Colour(0x7FB238),
    "possible": disnake.Colour(0xE5E533),
    "none": disnake.Colour(0x707070),
    "error": disnake.Colour(0xB4372A),
}
MAX_NAME_LENGTH = 100
MAX_NAME_LENGTH_IN_TITLE = 60
MAX_NAME_LENGTH_IN_LIST = 40
MAX_PROBLEM_LENGTH = 1000
PICTURE_FILENAME = "map.webp"
EXPLANATION_FILENAME = "why.png"
"""The file names under which the embeds refer to an attached picture."""

SPOILER_PREFIX = "SPOILER_"
"""Discord covers an attached picture whose file name begins so. It covers no picture of an embed."""


def format_reason(locale: str, evidence: Evidence) -> str:
    """Return why a match was found: `Same picture, seen at an angle: 143 matching points. Shows row 2, column 3 of 4x3 maps.`"""
    if evidence.by in ("file", "vector"):
        return localize(locale, f"reasons-{evidence.by}")
    sentences = [_match_sentence(locale, evidence)]
    if evidence.panel is not None:
        sentences.append(_panel_sentence(locale, evidence.panel))
    elif evidence.shown < PARTIAL_BELOW:
        sentences.append(localize(locale, "reasons-part", percent=to_percent(evidence.shown)))
    return " ".join(sentences)


def explanation_captions(locale: str) -> tuple[str, str, str, str]:
    """Return the captions of the explanation picture's parts: query, archived picture, straightened query, difference."""
    asked, archived = localize(locale, "answers-why-asked"), localize(locale, "answers-why-archived")
    return asked, archived, localize(locale, "answers-why-straightened"), localize(locale, "answers-why-difference")


def to_percent(share: float) -> int:
    """Convert a share to whole per cent, rounded down, so that only a complete share shows as 100."""
    return int(max(share, 0.0) * 100 + 1e-6)


def _match_sentence(locale: str, evidence: Evidence) -> str:
    manner = ("both" if evidence.turn else "mirrored") if evidence.mirrored else "turned" if evidence.turn else "plain"
    exact = (evidence.agreement or 0.0) >= EXACT_COPY_AGREEMENT
    if evidence.by == "hash" and manner == "plain" and not evidence.angle:
        return localize(locale, "reasons-copy", exact="yes" if exact else "no")
    return localize(
        locale,
        "reasons-same",
        manner=manner,
        turn=str(evidence.turn),
        angle="yes" if evidence.angle else "no",
        by=evidence.by,
        points=evidence.points,
    )


def _panel_sentence(locale: str, panel: Panel) -> str:
    return localize(
        locale,
        "reasons-panel",
        row=_range(panel.row, panel.height),
        column=_range(panel.column, panel.width),
        height=panel.height,
        width=panel.width,
        rows=str(panel.rows),
        columns=str(panel.columns),
    )


def _range(first: int, count: int) -> str:
    return str(first) if count == 1 else f"{first}-{first + count - 1}"


@dataclass(frozen=True, slots=True)
class AttachedPicture:
    """A picture file, and a description for readers who cannot see it."""

    data: bytes
    description: str


@dataclass(frozen=True, slots=True)
class MessageView:
    """A message to show. `files` are by file name. The embeds refer to them, except to those that Discord covers as spoilers."""

    embeds: list[disnake.Embed]
    files: dict[str, AttachedPicture] = field(default_factory=dict)
    components: list[MessageActionRow] = field(default_factory=list)


def render_answer(answer: AnswerPage) -> MessageView:
    """Render an answer as a message.

    It is the same for the asker, for another member who pressed a button, and for a repeated delivery.
    """
    if answer.piece is None:
        return _render_no_match(answer)
    if answer.view == "why":
        return _render_why(answer, answer.piece)
    if answer.view == "posts":
        view = MessageView([_posts_embed(answer, answer.piece)], components=build_posts_rows(answer, answer.piece))
    else:
        view = MessageView([_piece_embed(answer, answer.piece)], components=build_piece_rows(answer, answer.piece))
    best = answer.piece.best
    if best.thumbnail is not None:
        author = shorten(best.document["metadata"]["user_name"])
        picture = AttachedPicture(best.thumbnail, localize(answer.locale, "answers-picture", author=author))
        place = view.embeds[0].set_thumbnail if answer.view == "posts" else view.embeds[0].set_image
        _attach_picture(view, PICTURE_FILENAME, picture, place, spoiler=is_spoiler(best.document))
    return view


def _attach_picture(
    view: MessageView, filename: str, picture: AttachedPicture, place: Callable[[str], object], *, spoiler: bool
) -> None:
    """Attach a picture and show it at its place in an embed. A spoiler is only attached, since an embed would show it open."""
    if spoiler:
        view.files[SPOILER_PREFIX + filename] = picture
    else:
        view.files[filename] = picture
        place(f"attachment://{filename}")


def shorten(text: str, longest: int = MAX_NAME_LENGTH) -> str:
    """Put a member's text on one line of at most `longest` characters, without characters that change how the rest is shown."""
    line = escape_controls(" ".join(text.split()))
    return line if len(line) <= longest else line[: longest - 1] + "…"


def to_plain_text(text: str, longest: int = MAX_NAME_LENGTH) -> str:
    """Put a member's text on one line, shortened, with everything escaped that Discord would format."""
    return disnake.utils.escape_mentions(disnake.utils.escape_markdown(shorten(text, longest), ignore_links=False))


def _render_no_match(answer: AnswerPage) -> MessageView:
    if answer.verdict == "error":
        description = _problem_text(answer.locale, answer.problem)
        title = localize(answer.locale, "answers-error")
        return MessageView([disnake.Embed(title=title, description=description, colour=VERDICT_COLOURS["error"])])
    by_image = answer.by == "image"
    embed = disnake.Embed(
        title=localize(answer.locale, "answers-none"),
        description=localize(answer.locale, "answers-none-image" if by_image else "answers-none-text"),
        colour=VERDICT_COLOURS["none"],
    )
    _set_footer(embed, answer)
    return MessageView([embed], components=[build_no_match_row(answer)] if by_image else [])


def _problem_text(locale: str, problem: SearchRejected | None) -> str:
    """Return why there is no answer.

    Only an internal error shows its English reason, since that holds a reference for the owner of the installation.
    """
    if problem is None:
        return localize(locale, "answers-too-old")
    sentence = localize(locale, f"answers-rejected-{problem.code.value.replace('_', '-')}")
    return f"{sentence}\n{to_plain_text(problem.reason, MAX_PROBLEM_LENGTH)}" if problem.code is RejectCode.INTERNAL else sentence


def _piece_embed(answer: AnswerPage, piece: Piece) -> disnake.Embed:
    locale, first, best = answer.locale, piece.first, piece.best
    lines = _likeness_lines(answer, best)
    has_more_posts = len(piece.posts) > 1
    lines.append(
        localize(
            locale,
            "answers-first-post" if has_more_posts else "answers-only-post",
            **_post_values(first),
            ago=_format_moment(first, "R"),
        )
    )
    if best.image_id != first.image_id:
        lines.append(
            localize(
                locale,
                "answers-best-post",
                **_post_values(best),
                link=_format_link(locale, best),
                spoiler="yes" if is_spoiler(best.document) else "no",
            )
        )
    if has_more_posts:
        lines.append(localize(locale, "answers-again", count=len(piece.posts) - 1))
    lines.append(localize(locale, "answers-file", filename=to_plain_text(best.document["metadata"]["filename"])))
    embed = disnake.Embed(
        title=localize(
            locale, _headline_key(answer), author=to_plain_text(first.document["metadata"]["user_name"], MAX_NAME_LENGTH_IN_TITLE)
        ),
        url=web_link(first),
        description="\n".join(lines),
        colour=VERDICT_COLOURS[answer.piece_verdict],
    )
    position = localize(locale, "answers-result-of", number=answer.number + 1, count=answer.pieces) if answer.pieces > 1 else None
    return _set_footer(embed, answer, position)


def _headline_key(answer: AnswerPage) -> str:
    if answer.number > 0:
        return "answers-further"
    if answer.by == "text":
        return "answers-words"
    return "answers-match" if answer.verdict == "match" else "answers-possible"


def _likeness_lines(answer: AnswerPage, best: FoundPost) -> list[str]:
    """Return how similar the best post is to the query, or how sure the match is, and then the reason if there is one."""
    is_unmeasured = best.score is None
    if answer.by == "text":
        name = "answers-unmeasured-words" if is_unmeasured else "answers-similar-words"
    elif best.evidence is not None:
        name = "answers-sure"
    else:
        name = "answers-unmeasured" if is_unmeasured else "answers-similar"
    likeness = localize(answer.locale, name, percent=to_percent(best.score or 0.0), verdict=answer.piece_verdict)
    return [likeness] if best.evidence is None else [likeness, format_reason(answer.locale, best.evidence)]


def _render_why(answer: AnswerPage, piece: Piece) -> MessageView:
    """Render why the best post was found. It is a message of its own, without buttons, for the member who asked why."""
    locale, best = answer.locale, piece.best
    lines = _likeness_lines(answer, best)
    if answer.explanation is None:
        lines.append(localize(locale, "answers-why-undrawn"))
    embed = disnake.Embed(
        title=localize(locale, "answers-why"),
        url=web_link(best),
        description="\n".join(lines),
        colour=VERDICT_COLOURS[answer.piece_verdict],
    )
    view = MessageView([_set_footer(embed, answer)])
    if answer.explanation is not None:
        author = shorten(best.document["metadata"]["user_name"])
        picture = AttachedPicture(answer.explanation, localize(locale, "answers-why-picture", author=author))
        spoiler = answer.spoiler or is_spoiler(best.document)
        _attach_picture(view, EXPLANATION_FILENAME, picture, embed.set_image, spoiler=spoiler)
    return view


def _posts_embed(answer: AnswerPage, piece: Piece) -> disnake.Embed:
    locale, page, last = answer.locale, min(answer.page, last_page_number(piece)), last_page_number(piece)
    shown = piece.posts[page * POSTS_PER_PAGE : (page + 1) * POSTS_PER_PAGE]
    lines = [
        localize(locale, "answers-post", **_post_values(post, MAX_NAME_LENGTH_IN_LIST), link=_format_link(locale, post))
        for post in shown
    ]
    embed = disnake.Embed(
        title=localize(locale, "answers-posts", count=len(piece.posts)),
        description="\n".join(f"**{page * POSTS_PER_PAGE + rank}.** {line}" for rank, line in enumerate(lines, start=1)),
        colour=VERDICT_COLOURS[answer.piece_verdict],
    )
    return _set_footer(embed, answer, localize(locale, "answers-page-of", number=page + 1, count=last + 1) if last else None)


def _set_footer(embed: disnake.Embed, answer: AnswerPage, position: str | None = None) -> disnake.Embed:
    parts = [position, None if answer.trained else localize(answer.locale, "answers-untrained")]
    text = " · ".join(part for part in parts if part)
    return embed.set_footer(text=text) if text else embed


def _post_values(post: FoundPost, longest: int = MAX_NAME_LENGTH) -> dict[str, str]:
    """Return the author, date and channel of a post, as values for a text."""
    metadata = post.document["metadata"]
    return {
        "author": to_plain_text(metadata["user_name"], longest),
        "date": _format_moment(post, "D"),
        "channel": f"<#{metadata['channel_id']}>",
    }


def _format_moment(post: FoundPost, style: disnake.utils.TimestampStyle) -> str:
    return disnake.utils.format_dt(datetime.fromisoformat(post.document["metadata"]["upload_timestamp"]), style)


def _format_link(locale: str, post: FoundPost) -> str:
    text, url = localize(locale, "answers-go-to-message"), web_link(post)
    return f"[{text}]({url})" if url else text
