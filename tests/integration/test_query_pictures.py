"""Pictures of queries are deleted when the log drops their searches, except for those with a vote or an alert."""

import os
import time
from pathlib import Path

from nats.aio.client import Client

from contracts.envelope import Origin
from contracts.events import AlertSet, SearchJudged
from infra.blobs.files import FileBlobStore, open_blob_store
from infra.nats.journal import JetStreamJournal
from pipeline.container import QUERY_PICTURE_AGE_S, sweep_query_pictures
from pipeline.engine import topology
from pipeline.engine.registry import STAGES
from tests.support.facts import example_facts


async def put_aged(query_store: FileBlobStore, root: Path, data: bytes, age_s: float) -> str:
    name = await query_store.put(data)
    then = time.time() - age_s
    os.utime(root / name[:2] / name[2:4] / name, (then, then))
    return name


async def test_only_old_query_pictures_without_vote_or_alert_are_deleted(
    client: Client, journal: JetStreamJournal, tmp_path: Path
) -> None:
    await topology.ensure_topology(client, STAGES)
    query_store = open_blob_store(tmp_path)
    old, voted, awaited = [
        await put_aged(query_store, tmp_path, data, QUERY_PICTURE_AGE_S + 60) for data in (b"old", b"voted", b"awaited")
    ]
    young = await put_aged(query_store, tmp_path, b"young", QUERY_PICTURE_AGE_S - 60)
    judged = next(fact for fact in example_facts() if isinstance(fact, SearchJudged))
    alert = next(fact for fact in example_facts() if isinstance(fact, AlertSet))
    await journal.record(judged.model_copy(update={"pixels": voted}), Origin("vote"))
    await journal.record(alert.model_copy(update={"pixels": awaited}), Origin("alert"))

    assert await sweep_query_pictures(client, query_store) == 1
    assert [await query_store.exists(name) for name in (old, voted, awaited, young)] == [False, True, True, True]
    assert await sweep_query_pictures(client, query_store) == 0


async def test_a_query_picture_is_deleted_once_its_vote_is_erased(
    client: Client, journal: JetStreamJournal, tmp_path: Path
) -> None:
    await topology.ensure_topology(client, STAGES)
    query_store = open_blob_store(tmp_path)
    voted = await put_aged(query_store, tmp_path, b"voted", QUERY_PICTURE_AGE_S + 60)
    judged = next(fact for fact in example_facts() if isinstance(fact, SearchJudged))
    await journal.record(judged.model_copy(update={"pixels": voted}), Origin("vote"))
    assert await sweep_query_pictures(client, query_store) == 0
    await client.jetstream().purge_stream("JUDGEMENTS")
    assert await sweep_query_pictures(client, query_store) == 1
    assert not await query_store.exists(voted)
