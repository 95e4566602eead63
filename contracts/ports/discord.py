"""Ports to Discord: answers to searches, notices about alerts and reposts, and the state of the archive for managers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from contracts.events import Evidence, Person, SearchRejected, Verdict
from contracts.ports.storage import Document

SearchStep = Literal["fetching", "reading", "comparing"]
"""The step of a search that the waiting asker is shown."""


@dataclass(frozen=True, slots=True)
class FoundPost:
    """One archived post in an answer. `thumbnail` is a small WebP picture, None if its blob is lost.

    `score` is the probability of the match (0 to 1) if there is `evidence`, else the similarity. It is None for the other posts of
    a piece, which were not compared with the query.
    """

    image_id: str
    score: float | None
    document: Document
    thumbnail: bytes | None
    evidence: Evidence | None = None


@dataclass(frozen=True, slots=True)
class Piece:
    """One piece of map art among the results: the post that matches the query best, and all posts, the earliest first."""

    best: FoundPost
    posts: Sequence[FoundPost]

    @property
    def first(self) -> FoundPost:
        """The earliest post of the piece."""
        return self.posts[0]


@dataclass(frozen=True, slots=True)
class AnswerPage:
    """One page of an answer.

    `verdict` is about the whole search, `piece_verdict` about the piece on this page. `piece` is number `number` (from 0) of
    `pieces`; None if nothing was found, or nothing that the asker may see. With `view` "posts", the page is number `page` of the
    list of the piece's posts. With `view` "why", it explains why the best post was found; `explanation` is a PNG picture of that,
    None if the pictures are gone. `problem` is set if the search was rejected. `spoiler`: the query's picture is never shown open.
    """

    search_id: str
    asker_id: str
    verdict: Verdict
    trained: bool
    locale: str
    by: Literal["image", "text"] = "image"
    piece: Piece | None = None
    piece_verdict: Verdict = "none"
    number: int = 0
    pieces: int = 0
    view: Literal["piece", "posts", "why"] = "piece"
    page: int = 0
    explanation: bytes | None = None
    problem: SearchRejected | None = None
    spoiler: bool = False


class AnswerSender(Protocol):
    """Delivers answers to askers. `message_id` is a follow-up message; None means the first response of the interaction."""

    async def edit(self, application_id: str, token: str, answer: AnswerPage, *, message_id: str | None = None) -> None:
        """Show the answer in place of the deferred response. A repeated call shows the same.

        Raises Reject if the interaction is gone, Retry for errors that may pass.
        """
        ...

    async def show_progress(
        self, application_id: str, token: str, step: SearchStep, locale: str, *, message_id: str | None = None
    ) -> None:
        """Show the current step of the search in the deferred response. Raises the same errors as `edit`."""
        ...


@dataclass(frozen=True, slots=True)
class Notice:
    """The content of a notice: catalogue documents of the new post and, for a repost, of the earlier one."""

    guild_id: str
    post: Document
    earlier: Document | None
    score: float
    locale: str


class Notifier(Protocol):
    """Sends notices about alerts and reposts to Discord. Raises Retry for errors that may pass."""

    async def may_read(self, guild_id: str, channel_id: str, person_id: str, *, age_restricted: bool) -> bool:
        """Whether a person may read a channel's history now. `age_restricted`: age-restricted channels are allowed."""
        ...

    async def mark_repost(self, notice: Notice, style: Literal["reaction", "reply"]) -> None:
        """Add a reaction to the new post, or reply to it silently with a link to the earlier one."""
        ...

    async def notify_person(
        self, notice: Notice, person: Person, channel_id: str, alert_id: str
    ) -> Literal["direct", "mention", "undeliverable"]:
        """Notify a person about the new post by DM, or else by a mention in that channel. Return which one worked, if any."""
        ...


@dataclass(frozen=True, slots=True)
class StageBacklog:
    """The number of messages that a stage has not handled yet in one lane, and of its dead letters there."""

    stage: str
    lane: str
    pending: int
    failures: int


@dataclass(frozen=True, slots=True)
class Overview:
    """The state of a guild's archive. `stored_bytes` is the size of the whole blob store, all guilds included.

    `unreadable` is the number of the guild's messages that could not be read.
    """

    images: int
    stored_bytes: int
    backlogs: Sequence[StageBacklog]
    unreadable: int = 0


class OverviewReader(Protocol):
    """Reads the state of the archive for the managers of a guild."""

    async def read_overview(self, guild_id: str) -> Overview:
        """Read the current state of the archive. Raises Unavailable."""
        ...
