"""Tests of every UnreadableMessages. A test module subclasses UnreadableSuite and provides the fixtures."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from contracts.errors import Retry
from contracts.ports import UnreadableMessages
from tests.support.waiting import eventually

GUILD, CHANNEL, MESSAGE_ID = "7", "8", "1400000000000000001"
PAYLOAD = {"id": MESSAGE_ID, "channel_id": CHANNEL, "attachments": None}


class UnreadableSuite:
    """A message is kept once, and again when a retry could not read it either."""

    @pytest.fixture
    def unreadable(self) -> UnreadableMessages:
        raise NotImplementedError

    @pytest.fixture
    def put_back(self) -> Callable[[], Awaitable[None]]:
        """Return a function that puts the kept message back."""
        raise NotImplementedError

    async def test_a_message_is_kept_once(self, unreadable: UnreadableMessages) -> None:
        assert not await unreadable.has(GUILD, MESSAGE_ID)
        assert await keep(unreadable)
        assert not await keep(unreadable, reason="another reason")
        assert await unreadable.has(GUILD, MESSAGE_ID)
        assert not await unreadable.has("6", MESSAGE_ID)
        assert not await unreadable.has(GUILD, "1400000000000000002")

    async def test_what_is_put_back_is_read_again(
        self, unreadable: UnreadableMessages, put_back: Callable[[], Awaitable[None]]
    ) -> None:
        await keep(unreadable)
        read: list[tuple[str, str, str]] = []

        async def read_again(guild_id: str, channel_id: str, message_id: str) -> None:
            read.append((guild_id, channel_id, message_id))
            if len(read) == 1:
                raise Retry("Discord answered 503", after=0.01)

        following = asyncio.create_task(unreadable.follow_retries(read_again))
        await put_back()
        assert await unreadable.has(GUILD, MESSAGE_ID)
        await eventually(lambda: len(read) == 2)
        await eventually(lambda: _is_gone(unreadable))
        following.cancel()
        assert set(read) == {(GUILD, CHANNEL, MESSAGE_ID)}

    async def test_what_a_retry_cannot_read_is_kept_again(
        self, unreadable: UnreadableMessages, put_back: Callable[[], Awaitable[None]]
    ) -> None:
        await keep(unreadable)
        again: list[bool] = []

        async def read_again(*_: str) -> None:
            again.append(await keep(unreadable))

        await put_back()
        following = asyncio.create_task(unreadable.follow_retries(read_again))
        await eventually(lambda: again)
        assert again == [True]
        assert await unreadable.has(GUILD, MESSAGE_ID)
        following.cancel()


async def keep(unreadable: UnreadableMessages, payload: Any = PAYLOAD, reason: str = "KeyError: 'author'", **more: Any) -> bool:
    return await unreadable.keep(GUILD, CHANNEL, MESSAGE_ID, payload, reason, **more)


async def _is_gone(unreadable: UnreadableMessages) -> bool:
    return not await unreadable.has(GUILD, MESSAGE_ID)
