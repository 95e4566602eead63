"""The suite of the Posts port on JetStream, and on the fake that other tests use instead."""

import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from contracts.envelope import Origin
from contracts.errors import Unavailable
from infra.nats.journal import JetStreamJournal
from infra.nats.reader import LogPosts
from pipeline.engine import topology
from tests.support.facts import MOMENT, posted
from tests.support.fakes import MemoryJournal, MemoryPosts
from tests.support.posts import PostsSuite, hidden


class TestMemory(PostsSuite):
    @pytest.fixture
    def journal(self) -> MemoryJournal:
        return MemoryJournal()

    @pytest.fixture
    def posts(self, journal: MemoryJournal) -> MemoryPosts:
        return MemoryPosts(journal)


class TestJetStream(PostsSuite):
    @pytest.fixture
    async def posts(self, client: Client) -> LogPosts:
        await topology.ensure_topology(client, [])
        return LogPosts(client)

    @pytest.fixture
    def journal(self, journal: JetStreamJournal, posts: LogPosts) -> JetStreamJournal:
        return journal

    async def test_a_message_without_images_takes_one_request(
        self, client: Client, journal: JetStreamJournal, posts: LogPosts
    ) -> None:
        await journal.record(posted("1"), Origin("m"))
        requests: list[str] = []

        async def count(message: Msg) -> None:
            requests.append(message.subject)

        await client.subscribe("$JS.API.>", cb=count)
        assert await posts.read_message("7", "11") == []
        await client.flush()
        assert requests == ["$JS.API.STREAM.INFO.IMAGES"]

    async def test_an_entry_that_cannot_be_read_hides_nothing(
        self, client: Client, journal: JetStreamJournal, posts: LogPosts
    ) -> None:
        await self.record(journal, posted("1"), hidden(posted("1")))
        for subject in (
            "mapseek.image.shown.v1.7.1.10.1",
            "mapseek.image.hidden.v9.7.1.10.2",
            "mapseek.image.hidden.v1.7.1.10.two",
        ):
            await client.jetstream().publish(subject, b"{}")
        [known] = await posts.read_message("7", "10")
        assert (known.turn, known.hidden) == (1, True)
        assert [fact async for fact in posts.list_hidden(before=MOMENT.replace(year=2027))] == [hidden(posted("1"))]

    async def test_a_server_that_is_gone_is_unavailable(self, client: Client, posts: LogPosts) -> None:
        await client.close()
        with pytest.raises(Unavailable):
            await posts.read_message("7", "10")
        with pytest.raises(Unavailable):
            await anext(posts.list_hidden(before=MOMENT))
