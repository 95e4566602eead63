"""Tests of every StateStore. A test module subclasses StateSuite and provides the fixtures `state`, `other` and `outage`."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest

from contracts.errors import Unavailable
from contracts.events.base import Payload
from contracts.ports import StateStore
from contracts.state import read_document, update_document
from contracts.subjects import mark_key, settings_key

KEY = settings_key("7")


class Counter(Payload):
    """A document that several processes change."""

    count: int


@dataclass(frozen=True)
class Outage:
    """A StateStore whose server can be stopped and started again."""

    state: StateStore
    begin: Callable[[], object]
    end: Callable[[], object]


class StateSuite:
    """A StateStore keeps the last value of each key. A change may depend on the value that it replaces."""

    @pytest.fixture
    def state(self) -> StateStore:
        raise NotImplementedError

    @pytest.fixture
    def other(self) -> StateStore:
        """A second StateStore on the same values, as in another process."""
        raise NotImplementedError

    @pytest.fixture
    def outage(self) -> Outage:
        raise NotImplementedError

    async def test_a_value_is_visible_to_every_process(self, state: StateStore, other: StateStore) -> None:
        await state.put(KEY, b"one")
        for each in (state, other):
            entry = await each.get(KEY)
            assert entry is not None
            assert entry.value == b"one"
            assert entry.revision > 0

    async def test_an_unknown_key_has_no_entry(self, state: StateStore) -> None:
        await state.put(settings_key("77"), b"another guild")
        assert await state.get(KEY) is None

    @pytest.mark.parametrize("value", [b"", b"\0", bytes(range(256)) * 256], ids=["empty", "zero", "64 KiB"])
    async def test_any_bytes_are_read_unchanged(self, state: StateStore, value: bytes) -> None:
        await state.put(KEY, value)
        assert await state.get(KEY) == await state.get(KEY)
        assert (await state.get(KEY)).value == value  # type: ignore[union-attr]

    async def test_the_last_value_wins(self, state: StateStore, other: StateStore) -> None:
        await state.put(KEY, b"one")
        first = await state.get(KEY)
        await other.put(KEY, b"two")
        second = await state.get(KEY)
        assert first is not None
        assert second is not None
        assert second.value == b"two"
        assert second.revision > first.revision

    async def test_a_swap_needs_the_current_revision(self, state: StateStore, other: StateStore) -> None:
        await state.put(KEY, b"one")
        revision = (await state.get(KEY)).revision  # type: ignore[union-attr]
        assert not await state.swap(KEY, b"wrong", revision + 1)
        assert not await state.swap(KEY, b"wrong", 0)
        assert await state.swap(KEY, b"two", revision)
        assert not await other.swap(KEY, b"late", revision)
        assert (await other.get(KEY)).value == b"two"  # type: ignore[union-attr]

    async def test_a_swap_from_revision_zero_creates_the_key_once(self, state: StateStore, other: StateStore) -> None:
        created = await asyncio.gather(*((state, other)[number % 2].swap(KEY, b"%d" % number, 0) for number in range(10)))
        assert created.count(True) == 1
        assert (await state.get(KEY)).value == b"%d" % created.index(True)  # type: ignore[union-attr]

    async def test_a_deleted_key_has_no_entry_and_may_be_created_again(self, state: StateStore, other: StateStore) -> None:
        await state.put(KEY, b"one")
        revision = (await state.get(KEY)).revision  # type: ignore[union-attr]
        for _ in range(2):
            await other.delete(KEY)
            assert await state.get(KEY) is None
            assert not await state.swap(KEY, b"deleted", revision)
        assert await state.swap(KEY, b"two", 0)
        assert not await state.swap(KEY, b"earlier", revision)
        assert (await other.get(KEY)).value == b"two"  # type: ignore[union-attr]

    async def test_deleting_an_unknown_key_is_no_error(self, state: StateStore) -> None:
        await state.delete(KEY)
        assert await state.get(KEY) is None

    async def test_all_keys_under_a_prefix_are_listed_and_no_others(self, state: StateStore) -> None:
        assert await state.list_under("mark.7") == {}
        wanted = {mark_key("7", str(channel)): b"%d" % channel for channel in range(600)}
        await asyncio.gather(*(state.put(key, value) for key, value in wanted.items()))
        for key in ("mark.77.1", "mark.6.1", settings_key("7"), "mark.7"):
            await state.put(key, b"another")
        await state.put(mark_key("7", "gone"), b"deleted")
        await state.delete(mark_key("7", "gone"))
        assert await state.list_under("mark.7") == wanted

    async def test_deleted_keys_are_not_listed(self, state: StateStore) -> None:
        await state.put(mark_key("7", "1"), b"one")
        await state.delete(mark_key("7", "1"))
        assert await state.list_under("mark.7") == {}

    async def test_concurrent_changes_lose_nothing(self, state: StateStore, other: StateStore) -> None:
        def increment(counter: Counter | None) -> Counter:
            return Counter(count=(counter.count if counter else 0) + 1)

        await asyncio.gather(*(update_document((state, other)[number % 2], KEY, Counter, increment) for number in range(20)))
        assert await read_document(state, KEY, Counter) == Counter(count=20)

    async def test_an_outage_raises_unavailable_and_ends_when_the_server_is_back(self, outage: Outage) -> None:
        state = outage.state
        await state.put(KEY, b"one")
        outage.begin()
        calls: list[Callable[[], Awaitable[object]]] = [
            lambda: state.get(KEY),
            lambda: state.put(KEY, b"two"),
            lambda: state.swap(KEY, b"two", 0),
            lambda: state.swap(KEY, b"two", 1),
            lambda: state.delete(KEY),
            lambda: state.list_under("settings"),
        ]
        for call in calls:
            with pytest.raises(Unavailable, match="log is unavailable"):
                await call()
        outage.end()
        await state.put(KEY, b"three")
        assert (await state.get(KEY)).value == b"three"  # type: ignore[union-attr]
