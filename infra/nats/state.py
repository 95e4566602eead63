"""The StateStore port on a JetStream key-value bucket: one value for each key, without its history."""

import asyncio

from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.api import KeyValueConfig, StorageType
from nats.js.errors import BucketNotFoundError, KeyNotFoundError, KeyWrongLastSequenceError
from nats.js.kv import KeyValue

from contracts.ports import StateEntry
from contracts.subjects import STATE_BUCKET
from infra.nats.connection import translate_outages
from infra.nats.reader import scan_subjects

_SUBJECT_PREFIX = f"$KV.{STATE_BUCKET}."


async def open_state(client: Client, *, timeout: float = 5) -> "JetStreamState":
    """Open the bucket, and create it if it is missing. A call waits `timeout` seconds for the server. Raises Unavailable."""
    js = client.jetstream(timeout=timeout)
    with translate_outages():
        try:
            return JetStreamState(js, await js.key_value(STATE_BUCKET))
        except BucketNotFoundError:
            config = KeyValueConfig(bucket=STATE_BUCKET, history=1, storage=StorageType.FILE)
            return JetStreamState(js, await js.create_key_value(config))


class JetStreamState:
    """Values by key in one bucket. A revision is the sequence of the entry in the stream of the bucket."""

    def __init__(self, js: JetStreamContext, bucket: KeyValue) -> None:
        self._js = js
        self._bucket = bucket

    async def get(self, key: str) -> StateEntry | None:
        with translate_outages():
            try:
                entry = await self._bucket.get(key)
            except KeyNotFoundError:
                return None
        return StateEntry(entry.value or b"", entry.revision or 0)

    async def put(self, key: str, value: bytes) -> None:
        with translate_outages():
            await self._bucket.put(key, value)

    async def swap(self, key: str, value: bytes, revision: int) -> bool:
        with translate_outages():
            try:
                # A deleted key has a revision too: that of its deletion. `create` handles that.
                await (self._bucket.update(key, value, revision) if revision else self._bucket.create(key, value))
            except KeyWrongLastSequenceError:
                return False
        return True

    async def delete(self, key: str) -> None:
        with translate_outages():
            await self._bucket.delete(key)

    async def list_under(self, prefix: str) -> dict[str, bytes]:
        return await self._get_matching(f"{prefix}.>")

    async def read_all(self) -> dict[str, bytes]:
        """Return all values of the bucket by key. Raises Unavailable."""
        return await self._get_matching(">")

    async def _get_matching(self, pattern: str) -> dict[str, bytes]:
        """List the keys, then get each one. nats-py's own watcher may report the end before it has sent anything."""
        with translate_outages():
            subjects, _ = await scan_subjects(self._js, f"KV_{STATE_BUCKET}", [f"{_SUBJECT_PREFIX}{pattern}"])
        keys = [subject.removeprefix(_SUBJECT_PREFIX) for subject in subjects]
        entries = await asyncio.gather(*(self.get(key) for key in keys))
        return {key: entry.value for key, entry in zip(keys, entries, strict=True) if entry is not None}
