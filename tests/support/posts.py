"""Tests of every Posts. A test module subclasses PostsSuite and provides the fixtures `journal` and `posts`."""

from datetime import timedelta

import pytest

from contracts.envelope import Origin
from contracts.events import Fact, ImageDownloaded, ImageEmbedded, ImageHidden, ImagePosted, ImageRemoved, ImageShown
from contracts.ports import Journal, KnownImage, Posts
from tests.support.facts import BLOB, MOMENT, VECTOR, posted

WEEK = timedelta(days=7)


def hidden(post: ImagePosted, turn: int = 1, *, hours: int = 0) -> ImageHidden:
    """Return the fact that hides the image of a post, so many hours after MOMENT."""
    return ImageHidden(**post.identity, message_id=post.message_id, turn=turn, hidden_at=MOMENT + timedelta(hours=hours))


def shown(post: ImagePosted, turn: int = 1, *, spoiler: bool = False) -> ImageShown:
    """Return the fact that shows the image of a post again."""
    return ImageShown(**post.identity, message_id=post.message_id, turn=turn, shown_at=MOMENT, spoiler=spoiler)


def removed(post: ImagePosted, *, expired: bool = False) -> ImageRemoved:
    """Return the tombstone of the image of a post."""
    about = {"message_id": post.message_id, "removed_at": MOMENT, "cause": "deleted"}
    return ImageRemoved(**post.identity, **about, expired=expired)


class PostsSuite:
    """What the log knows about the images of a message: its posts, what an edit hid and showed again, and tombstones."""

    @pytest.fixture
    def journal(self) -> Journal:
        raise NotImplementedError

    @pytest.fixture
    def posts(self) -> Posts:
        """The posts of the log that the journal records in."""
        raise NotImplementedError

    async def record(self, journal: Journal, *facts: Fact) -> None:
        for fact in facts:
            await journal.record(fact, Origin("m"))

    async def list_hidden_images(self, posts: Posts, *, days: float = 7) -> list[tuple[str, int]]:
        return [(each.image_id, each.turn) async for each in posts.list_hidden(before=MOMENT + timedelta(days=days))]

    async def test_a_message_without_images_has_none(self, journal: Journal, posts: Posts) -> None:
        await self.record(journal, posted("1"), posted("2", "8").model_copy(update={"message_id": "11"}))
        assert list(await posts.read_message("7", "11")) == []
        assert list(await posts.read_message("8", "10")) == []

    async def test_the_images_of_a_message_are_known_in_recorded_order(self, journal: Journal, posts: Posts) -> None:
        spoiler = posted("10-0").model_copy(update={"spoiler": True})
        other = posted("5").model_copy(update={"message_id": "11"})
        made = (
            ImageDownloaded(**spoiler.identity, blob=BLOB, size=1),
            ImageEmbedded(**other.identity, generation="g1", vector=VECTOR),
        )
        await self.record(journal, posted("3"), spoiler, other, posted("1"), *made)
        assert list(await posts.read_message("7", "10")) == [
            KnownImage("3", posted("3")),
            KnownImage("10-0", spoiler, spoiler=True),
            KnownImage("1", posted("1")),
        ]

    async def test_the_highest_turn_says_whether_an_image_is_hidden(self, journal: Journal, posts: Posts) -> None:
        post = posted("1")
        for fact, expected in (
            (hidden(post), KnownImage("1", post, 1, hidden=True)),
            (shown(post), KnownImage("1", post, 1)),
            (hidden(post, 2), KnownImage("1", post, 2, hidden=True)),
            (shown(post, 2, spoiler=True), KnownImage("1", post, 2, spoiler=True)),
            (shown(post, 3), KnownImage("1", post, 3)),
            (shown(post, 4, spoiler=True), KnownImage("1", post, 4, spoiler=True)),
            (hidden(post, 5), KnownImage("1", post, 5, hidden=True, spoiler=True)),
        ):
            await self.record(journal, post, fact)
            assert list(await posts.read_message("7", "10")) == [expected]

    async def test_turns_are_numbers_and_their_order_in_the_log_means_nothing(self, journal: Journal, posts: Posts) -> None:
        post = posted("1")
        await self.record(journal, post, shown(post, 10), shown(post, 9), hidden(post, 10), hidden(post, 2), hidden(post, 9))
        assert list(await posts.read_message("7", "10")) == [KnownImage("1", post, 10)]

    async def test_a_removed_image_is_known_as_such(self, journal: Journal, posts: Posts) -> None:
        late = posted("2")
        await self.record(journal, posted("1"), hidden(posted("1"), 3), removed(posted("1"), expired=True), removed(late), late)
        assert list(await posts.read_message("7", "10")) == [
            KnownImage("1", posted("1"), 3, hidden=True, removed=True, expired=True),
            KnownImage("2", None, removed=True),
        ]

    async def test_hidden_images_of_all_guilds_are_listed_oldest_first(self, journal: Journal, posts: Posts) -> None:
        elsewhere = posted("2", "8")
        await self.record(journal, posted("1"), elsewhere, posted("3"), posted("4"))
        await self.record(journal, hidden(posted("1"), hours=2), hidden(elsewhere, 4, hours=1), hidden(posted("3"), hours=3))
        assert await self.list_hidden_images(posts) == [("2", 4), ("1", 1), ("3", 1)]

    async def test_images_are_listed_that_were_hidden_before_a_time(self, journal: Journal, posts: Posts) -> None:
        await self.record(journal, posted("1"), posted("2"), hidden(posted("1"), hours=23), hidden(posted("2"), hours=24))
        assert await self.list_hidden_images(posts, days=1) == [("1", 1)]

    async def test_what_was_hidden_again_is_hidden_since_the_last_time(self, journal: Journal, posts: Posts) -> None:
        post = posted("1")
        await self.record(journal, post, hidden(post, 2, hours=48), hidden(post), shown(post))
        assert await self.list_hidden_images(posts, days=1) == []
        assert await self.list_hidden_images(posts, days=3) == [("1", 2)]

    async def test_an_image_that_is_shown_again_or_removed_is_not_listed(self, journal: Journal, posts: Posts) -> None:
        for image_id in ("1", "2", "3", "4"):
            await self.record(journal, posted(image_id), hidden(posted(image_id)))
        await self.record(journal, shown(posted("1")), shown(posted("2"), 2, spoiler=True), removed(posted("3")))
        assert await self.list_hidden_images(posts) == [("4", 1)]
