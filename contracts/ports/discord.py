"""What an asker is told, and how it is delivered.

What is said on Discord without having been asked.

How the archive does, for the managers of a guild.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from contracts.events import Evidence, Person, SearchRejected, Verdict
from contracts.ports.storage import Document

SearchStep = Literal["fetching", "reading", "comparing"]
"""At what a search is while the asker waits."""


@dataclass(frozen=True, slots=True)
class FoundPost:
    """One archived post as the asker is shown it. `thumbnail` is a small WebP picture, None where the blob is lost.

    `score` is None for a post that was not itself compared with the question: the other posts of a piece. With `evidence`, which
    is why it was found, it is how sure that is (0 to 1); without, the similarity.
    """

    image_id: str
    score: float | None
    document: Document
    thumbnail: bytes | None
    evidence: Evidence | None = None


@dataclass(frozen=True, slots=True)
class Piece:
    """One piece of map art among the results: the post that is most like the question, and all its posts, first posted first."""

    best: FoundPost
    posts: Sequence[FoundPost]

    @property
    def first(self) -> FoundPost:
        """The post by which the piece was first shown."""
        return self.posts[0]


@dataclass(frozen=True, slots=True)
class AnswerPage:
    """One page of what the asker is told.

    `verdict` is about the whole search, `piece_verdict` about the piece on this page. `piece` is the one shown, the `number`th
    (from 0) of `pieces`; None when nothing was found, or nothing that the asker may see. With `view` "posts" it is page number
    `page` of the piece's posts, and with "why" the reason for which the best post was found: `explanation` is a PNG picture of it,
    None where the pictures are gone. `problem` is the sentence of a rejection.
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


class AnswerSender(Protocol):
    """Delivers an answer to the one who asked. `message_id` is a follow-up message; None is the interaction's first answer."""

    async def edit(self, application_id: str, token: str, answer: AnswerPage, *, message_id: str | None = None) -> None:
        """Show the answer in place of the deferred one; doing it again shows the same.

        Raises Reject when the interaction is gone, Retry for what may work later.
        """
        ...

    async def show_progress(
        self, application_id: str, token: str, step: SearchStep, locale: str, *, message_id: str | None = None
    ) -> None:
        """Say in the deferred answer at what the search is. Raises as `edit` does."""
        ...


@dataclass(frozen=True, slots=True)
class Notice:
    """What a notice is about: the new post, and for a repost the earlier one. Documents are the catalogue's."""

    guild_id: str
    post: Document
    earlier: Document | None
    score: float
    locale: str


class Notifier(Protocol):
    """Speaks up on Discord without having been asked. Raises Retry for what may work later."""

    async def may_read(self, guild_id: str, channel_id: str, person_id: str, *, age_restricted: bool) -> bool:
        """Whether a person may read a channel's history now; an age-restricted one only where that is allowed."""
        ...

    async def mark_repost(self, notice: Notice, style: Literal["reaction", "reply"]) -> None:
        """Add a quiet reaction to the new post, or answer it with a link to the earlier one."""
        ...

    async def notify_person(
        self, notice: Notice, person: Person, channel_id: str, alert_id: str
    ) -> Literal["direct", "mention", "undeliverable"]:
        """Tell a person of the new post: directly, or by a mention in the channel where they asked, or not at all."""
        ...


@dataclass(frozen=True, slots=True)
class StageBacklog:
    """What one stage still has to do in one lane, and how often it failed for good."""

    stage: str
    lane: str
    pending: int
    failures: int


@dataclass(frozen=True, slots=True)
class Overview:
    """The state of a guild's archive. `stored_bytes` is the size of all blobs, of every guild."""

    images: int
    stored_bytes: int
    backlogs: Sequence[StageBacklog]


class OverviewReader(Protocol):
    """Tells the managers of a guild how its archive does."""

    async def read_overview(self, guild_id: str) -> Overview:
        """The state of the archive now. Raises Unavailable."""
        ...
