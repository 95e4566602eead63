"""The behaviour of every BlobStore. A test module subclasses BlobStoreSuite and provides the fixtures `store` and `damage`."""

import asyncio
import hashlib
import math
from collections.abc import Callable

import pytest

from contracts.errors import BlobMissing
from contracts.ports import BlobStore

HELLO = b"hello"
HELLO_NAME = hashlib.sha256(HELLO).hexdigest()


class BlobStoreSuite:
    """A blob store returns bytes unchanged, and never returns bytes that do not match their name."""

    @pytest.fixture
    def store(self) -> BlobStore:
        raise NotImplementedError

    @pytest.fixture
    def damage(self) -> Callable[[str], None]:
        """Overwrite the stored bytes of a blob without using the store."""
        raise NotImplementedError

    async def pass_time(self, store: BlobStore, seconds: float) -> None:
        """Make every blob in the store older by some seconds."""
        raise NotImplementedError

    async def test_bytes_are_named_by_their_sha256(self, store: BlobStore) -> None:
        assert await store.put(HELLO) == HELLO_NAME

    @pytest.mark.parametrize("data", [b"", b"\0", bytes(range(256)) * 4096], ids=["empty", "zero", "a megabyte"])
    async def test_bytes_come_back_as_they_were(self, store: BlobStore, data: bytes) -> None:
        assert await store.get(await store.put(data)) == data

    async def test_putting_again_changes_nothing(self, store: BlobStore) -> None:
        assert await store.put(HELLO) == await store.put(HELLO)
        assert await store.get(HELLO_NAME) == HELLO

    async def test_many_may_put_the_same_at_once(self, store: BlobStore) -> None:
        assert set(await asyncio.gather(*(store.put(HELLO) for _ in range(20)))) == {HELLO_NAME}
        assert await store.get(HELLO_NAME) == HELLO

    async def test_an_unknown_name_is_missing(self, store: BlobStore) -> None:
        assert not await store.exists(HELLO_NAME)
        with pytest.raises(BlobMissing):
            await store.get(HELLO_NAME)

    async def test_a_stored_name_exists(self, store: BlobStore) -> None:
        await store.put(HELLO)
        assert await store.exists(HELLO_NAME)

    async def test_deleted_bytes_are_missing(self, store: BlobStore) -> None:
        await store.put(HELLO)
        kept = await store.put(b"another")
        await store.delete(HELLO_NAME)
        assert not await store.exists(HELLO_NAME)
        with pytest.raises(BlobMissing):
            await store.get(HELLO_NAME)
        assert await store.get(kept) == b"another"

    async def test_deleting_something_unknown_is_no_error(self, store: BlobStore) -> None:
        await store.delete(HELLO_NAME)

    async def test_deleted_bytes_may_come_back(self, store: BlobStore) -> None:
        await store.put(HELLO)
        await store.delete(HELLO_NAME)
        await store.put(HELLO)
        assert await store.get(HELLO_NAME) == HELLO

    async def test_putting_again_is_a_touch_and_reading_is_none(self, store: BlobStore) -> None:
        await store.put(HELLO)
        await self.pass_time(store, 100)
        await store.get(HELLO_NAME)
        await store.exists(HELLO_NAME)
        assert 100 <= await store.seconds_since_put(HELLO_NAME) < 200
        await store.put(HELLO)
        assert 0 <= await store.seconds_since_put(HELLO_NAME) < 100

    async def test_an_unknown_blob_was_never_touched(self, store: BlobStore) -> None:
        assert await store.seconds_since_put(HELLO_NAME) == math.inf
        await store.put(HELLO)
        await store.delete(HELLO_NAME)
        assert await store.seconds_since_put(HELLO_NAME) == math.inf

    async def test_damaged_bytes_are_missing(self, store: BlobStore, damage: Callable[[str], None]) -> None:
        await store.put(HELLO)
        damage(HELLO_NAME)
        with pytest.raises(BlobMissing):
            await store.get(HELLO_NAME)

    async def test_putting_again_heals_damage(self, store: BlobStore, damage: Callable[[str], None]) -> None:
        await store.put(HELLO)
        damage(HELLO_NAME)
        await store.put(HELLO)
        assert await store.get(HELLO_NAME) == HELLO

    @pytest.mark.parametrize(
        "name",
        [
            "",
            "..",
            "../../secret",
            "/etc/passwd",
            HELLO_NAME.upper(),
            HELLO_NAME + "\n",
            f"{HELLO_NAME}/../{HELLO_NAME}",
            HELLO_NAME[:-1],
        ],
    )
    async def test_a_name_that_is_not_a_digest_is_unknown(self, store: BlobStore, name: str) -> None:
        await store.put(HELLO)
        assert not await store.exists(name)
        assert await store.seconds_since_put(name) == math.inf
        with pytest.raises(BlobMissing):
            await store.get(name)
        await store.delete(name)
        assert await store.get(HELLO_NAME) == HELLO
