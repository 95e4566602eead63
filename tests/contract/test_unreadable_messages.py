"""The suite of unreadable messages on dead letters in JetStream, and on the fake that other tests use instead."""

import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import pytest
from nats.aio.client import Client

from contracts.subjects import FAILURES
from infra.nats.erasure import LogErasure
from infra.nats.journal import JetStreamJournal
from pipeline.engine import topology
from pipeline.engine.unreadable import MAX_PAYLOAD_BYTES, UnreadableLetters
from pipeline.failures.letters import discard_letter, find_letter, list_letters, list_stages_without_worker, retry_letter
from pipeline.failures.render import describe_letter, render_letters
from tests.support.fakes import MemoryUnreadable
from tests.support.unreadable import CHANNEL, GUILD, MESSAGE_ID, PAYLOAD, UnreadableSuite, keep

LETTER_ID = f"record/message/{MESSAGE_ID}"
LATER = datetime(2030, 1, 1, tzinfo=UTC)


class TestMemory(UnreadableSuite):
    @pytest.fixture
    def unreadable(self) -> MemoryUnreadable:
        return MemoryUnreadable()

    @pytest.fixture
    def put_back(self, unreadable: MemoryUnreadable) -> Callable[[], Awaitable[None]]:
        async def put_back() -> None:
            unreadable.put_back(GUILD, MESSAGE_ID)

        return put_back


class TestJetStream(UnreadableSuite):
    @pytest.fixture(autouse=True)
    async def _topology(self, client: Client) -> None:
        await topology.ensure_topology(client, [])

    @pytest.fixture
    def kept(self) -> list[None]:
        return []

    @pytest.fixture
    def unreadable(self, client: Client, journal: JetStreamJournal, kept: list[None]) -> UnreadableLetters:
        return UnreadableLetters(client, journal, lambda: kept.append(None))

    @pytest.fixture
    def put_back(self, client: Client, journal: JetStreamJournal) -> Callable[[], Awaitable[None]]:
        async def put_back() -> None:
            await retry_letter(await find_letter(client, LETTER_ID), journal, LogErasure(client))

        return put_back

    async def test_a_letter_is_like_any_other(
        self, client: Client, journal: JetStreamJournal, unreadable: UnreadableLetters, kept: list[None]
    ) -> None:
        try:
            PAYLOAD["author"]
        except KeyError as error:
            await keep(unreadable, reason="no author\nin it", error=error)
        [letter] = await list_letters(client, stage="record", guild=GUILD)
        assert await list_letters(client, guild="6") == []
        shown = describe_letter(letter)
        assert (letter.id, letter.about) == (LETTER_ID, (GUILD, MESSAGE_ID))
        assert (shown["cause"], shown["reason"], shown["round"]) == ("malformed", "no author in it", 0)
        assert shown["payload"] == PAYLOAD
        assert "KeyError: 'author'" in shown["traceback"]
        assert render_letters([letter])
        assert len(kept) == 1
        await discard_letter(letter, journal, LogErasure(client))
        assert await list_letters(client) == []

    async def test_a_failed_retry_raises_the_round(
        self, client: Client, unreadable: UnreadableLetters, put_back: Callable[[], Awaitable[None]]
    ) -> None:
        await keep(unreadable)
        await put_back()
        await keep(unreadable)
        assert [describe_letter(each)["round"] for each in await list_letters(client)] == [1]

    async def test_no_gateway_reads_again_what_is_put_back_while_none_runs(
        self, client: Client, unreadable: UnreadableLetters
    ) -> None:
        assert await list_stages_without_worker(client, ["record"], within_s=0) == ["record"]

    @pytest.mark.parametrize(
        "payload",
        [
            {"interaction": {"token": "geheim"}, "x": [{"webhook_token": "geheim"}, {"Client_Secret": "geheim"}]},
            {"content": "https://discord.com/api/webhooks/123/geheim", "secrets": {"deep": "geheim"}},
            {"token": ["geheim"], "application": {"token": None}},
        ],
    )
    async def test_no_secret_is_kept(
        self, client: Client, unreadable: UnreadableLetters, payload: dict[str, object], caplog: pytest.LogCaptureFixture
    ) -> None:
        await keep(unreadable, payload, reason="cannot read geheim", error=ValueError("geheim"))
        [letter] = await list_letters(client)
        assert "geheim" not in letter.body.decode() + str(letter.headers) + caplog.text

    @pytest.mark.parametrize(
        "payload",
        [
            {"content": "half \ud83d"},
            {"n": 2**80},
            None,
            [],
            "text",
            {"content": "x" * 2 * MAX_PAYLOAD_BYTES},
        ],
        ids=["surrogate", "large-number", "null", "list", "text", "long"],
    )
    async def test_any_payload_is_kept_and_shown(self, client: Client, unreadable: UnreadableLetters, payload: object) -> None:
        assert await keep(unreadable, payload)
        [letter] = await list_letters(client)
        assert describe_letter(letter)

    async def test_the_message_that_it_replies_to_is_not_kept(self, client: Client, unreadable: UnreadableLetters) -> None:
        await keep(unreadable, {**PAYLOAD, "referenced_message": {"content": "of somebody else"}})
        [letter] = await list_letters(client)
        assert json.loads(letter.body) == PAYLOAD

    @pytest.mark.parametrize("waits", [False, True], ids=["open", "put back"])
    @pytest.mark.parametrize(
        ("scope", "target", "until", "erased"),
        [
            ("message", MESSAGE_ID, LATER, True),
            ("message", "1400000000000000002", LATER, False),
            ("channel", CHANNEL, LATER, True),
            ("channel", "6", LATER, True),
            ("channel", "5", LATER, False),
            ("author", "42", LATER, True),
            ("author", "43", LATER, True),
            ("author", "4", LATER, False),
            ("author", "42", datetime(2020, 1, 1, tzinfo=UTC), False),
            ("guild", GUILD, LATER, True),
            ("guild", GUILD, datetime(2020, 1, 1, tzinfo=UTC), False),
        ],
    )
    async def test_it_is_erased_with_what_was_deleted_or_forgotten(
        self,
        client: Client,
        unreadable: UnreadableLetters,
        put_back: Callable[[], Awaitable[None]],
        scope: str,
        target: str,
        until: datetime,
        erased: bool,
        waits: bool,
    ) -> None:
        payload = {"author": {"id": "42"}, "mentions": [{"id": "43"}], "content": "45"}
        await keep(unreadable, payload, thread_of="6")
        if waits:
            await put_back()
        erasure = LogErasure(client)
        await erasure.erase_unreadable("9", scope, target, until)  # type: ignore[arg-type]
        assert await unreadable.has(GUILD, MESSAGE_ID)
        await erasure.erase_unreadable(GUILD, scope, target, until)  # type: ignore[arg-type]
        assert await unreadable.has(GUILD, MESSAGE_ID) is not erased
        if erased and not waits:
            info = await client.jetstream().stream_info(FAILURES)
            assert info.state.messages == 0
