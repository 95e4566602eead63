"""The buttons under an answer, without I/O.

A custom id is `ms1:<kind>:<part>:...`, at most 100 characters. It carries all that is needed to handle a press, so a button works
after any process has restarted. The `1` is the version: a press on a button of an unknown version is answered with a sentence.
Discord returns a custom id unchanged, but it only names things: whoever handles a press checks again what the presser may do.
"""

from collections.abc import Callable

import disnake
from disnake.ui import ActionRow, Button, MessageActionRow

from contracts.ports import AnswerPage, FoundPost, Piece
from infra.discord.wording import localize

CUSTOM_ID_PREFIX = "ms1"
MAX_CUSTOM_ID_LENGTH = 100

BROWSE = "browse"
"""Show another page of an answer: search id, asker id, view, piece, page."""
VOTE = "vote"
"""Vote on an answered image: search id, image id, `1` (right) or `0` (wrong)."""
ALERT = "alert"
"""Ask for an alert on the picture of a search: search id."""
CANCEL_ALERT = "unalert"
"""Cancel an alert: guild id, alert id."""
BACKFILL = "backfill"
"""Control a back-fill: `pause`, `resume` or `cancel`, channel id."""
FORGET = "forget"
"""Confirm or refuse that all of the member's own posts are removed: `yes` or `no`, member id."""

POSTS_PER_PAGE = 10
MAX_URL_LENGTH = 512


def build_custom_id(kind: str, *parts: str) -> str:
    """Build the custom id of a button.

    Raise ValueError if it is too long or a part contains a colon, since it could not be parsed again.
    """
    joined = ":".join((CUSTOM_ID_PREFIX, kind, *parts))
    if len(joined) > MAX_CUSTOM_ID_LENGTH or any(":" in part for part in (kind, *parts)):
        raise ValueError(f"{joined!r} cannot be the id of a button")
    return joined


def parse_custom_id(pressed: str, kind: str, parts: int) -> tuple[str, ...] | None:
    """Return the parts of a pressed button's custom id; None if it is not of this kind or has another number of parts."""
    prefix, _, rest = pressed.partition(":")
    found, _, tail = rest.partition(":")
    values = tuple(tail.split(":")) if tail else ()
    return values if (prefix, found, len(values)) == (CUSTOM_ID_PREFIX, kind, parts) else None


def last_page_number(piece: Piece) -> int:
    """Return the number, from 0, of the last page of a piece's posts."""
    return (len(piece.posts) - 1) // POSTS_PER_PAGE


def web_link(post: FoundPost) -> str | None:
    """Return the link to a post's message; None for a post that was archived from a file."""
    link = str(post.document["message_link"])
    return link if link.startswith(("https://", "http://")) and len(link) <= MAX_URL_LENGTH else None


def build_piece_rows(answer: AnswerPage, piece: Piece) -> list[MessageActionRow]:
    """Return the buttons under a piece: a link to its first post, other pieces, all its posts, votes, and why it was found.

    Everything is in one row where there is no other piece and no other post.
    """
    has_more_posts = len(piece.posts) > 1
    link_buttons: list[Button[None]] = []
    link = web_link(piece.first)
    if link is not None:
        link_buttons.append(Button(label=localize(answer.locale, "answers-button-go"), url=link))
    paging_buttons = _paging_buttons(
        answer, answer.number, answer.pieces - 1, lambda number: _browse_id(answer, "piece", number, 0)
    )
    if has_more_posts:
        label = localize(answer.locale, "answers-button-posts", count=len(piece.posts))
        paging_buttons.append(Button(label=label, custom_id=_browse_id(answer, "posts", answer.number, 0)))
    vote_buttons = [_vote_button(answer, piece.best, right=True), _vote_button(answer, piece.best, right=False)]
    if piece.best.evidence is not None:
        label = localize(answer.locale, "answers-button-why")
        vote_buttons.append(Button(label=label, custom_id=_browse_id(answer, "why", answer.number, 0)))
    rows = [[*link_buttons, *paging_buttons], vote_buttons] if paging_buttons else [[*link_buttons, *vote_buttons]]
    return [ActionRow(*buttons) for buttons in rows]


def build_posts_rows(answer: AnswerPage, piece: Piece) -> list[MessageActionRow]:
    """Return the buttons under a page of a piece's posts: the page before, the page after, and back to the piece."""
    last = last_page_number(piece)
    paging_buttons = _paging_buttons(
        answer, min(answer.page, last), last, lambda page: _browse_id(answer, "posts", answer.number, page)
    )
    back = Button[None](
        label=localize(answer.locale, "answers-button-back"), custom_id=_browse_id(answer, "piece", answer.number, 0)
    )
    return [ActionRow(*paging_buttons, back)]


def build_no_match_row(answer: AnswerPage) -> MessageActionRow:
    """Return the button under an answer without a match: ask for an alert."""
    label = localize(answer.locale, "answers-button-alert")
    return ActionRow(Button(label=label, style=disnake.ButtonStyle.primary, custom_id=build_custom_id(ALERT, answer.search_id)))


def _paging_buttons(answer: AnswerPage, current: int, last: int, target: Callable[[int], str]) -> list[Button[None]]:
    """Return the buttons for the page before and the page after, with pages from 0 to `last`; none if there is only one page.

    At either end the button is disabled and carries the id of the current page, since two buttons of a message may not share an id.
    """
    if last < 1:
        return []
    before, after = max(current - 1, 0), min(current + 1, last)
    return [
        Button(label=localize(answer.locale, "answers-button-previous"), custom_id=target(before), disabled=before == current),
        Button(label=localize(answer.locale, "answers-button-next"), custom_id=target(after), disabled=after == current),
    ]


def _browse_id(answer: AnswerPage, view: str, piece: int, page: int) -> str:
    return build_custom_id(BROWSE, answer.search_id, answer.asker_id, view, str(piece), str(page))


def _vote_button(answer: AnswerPage, post: FoundPost, *, right: bool) -> Button[None]:
    return Button(
        label=localize(answer.locale, "answers-button-right" if right else "answers-button-wrong"),
        style=disnake.ButtonStyle.success if right else disnake.ButtonStyle.secondary,
        custom_id=build_custom_id(VOTE, answer.search_id, post.image_id, "1" if right else "0"),
    )
