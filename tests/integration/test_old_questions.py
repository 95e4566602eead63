"""The pictures that people asked with go when their questions go, but for those that somebody voted on or waits for."""

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


async def aged(questions: FileBlobStore, root: Path, data: bytes, age_s: float) -> str:
    name = await questions.put(data)
    then = time.time() - age_s
    os.utime(root / name[:2] / name[2:4] / name, (then, then))
    return name


async def test_only_old_pictures_that_nobody_needs_are_deleted(client: Client, journal: JetStreamJournal, tmp_path: Path) -> None:
    await topology.ensure_topology(client, STAGES)
    questions = open_blob_store(tmp_path)
    old, voted, awaited = [
        await aged(questions, tmp_path, data, QUERY_PICTURE_AGE_S + 60) for data in (b"old", b"voted", b"awaited")
    ]
    young = await aged(questions, tmp_path, b"young", QUERY_PICTURE_AGE_S - 60)
    judged = next(fact for fact in example_facts() if isinstance(fact, SearchJudged))
    alert = next(fact for fact in example_facts() if isinstance(fact, AlertSet))
    await journal.record(judged.model_copy(update={"pixels": voted}), Origin("vote"))
    await journal.record(alert.model_copy(update={"pixels": awaited}), Origin("alert"))

    assert await sweep_query_pictures(client, questions) == 1
    assert [await questions.exists(name) for name in (old, voted, awaited, young)] == [False, True, True, True]
    assert await sweep_query_pictures(client, questions) == 0


async def test_a_picture_goes_once_its_vote_is_erased(client: Client, journal: JetStreamJournal, tmp_path: Path) -> None:
    await topology.ensure_topology(client, STAGES)
    questions = open_blob_store(tmp_path)
    voted = await aged(questions, tmp_path, b"voted", QUERY_PICTURE_AGE_S + 60)
    judged = next(fact for fact in example_facts() if isinstance(fact, SearchJudged))
    await journal.record(judged.model_copy(update={"pixels": voted}), Origin("vote"))
    assert await sweep_query_pictures(client, questions) == 0
    await client.jetstream().purge_stream("JUDGEMENTS")
    assert await sweep_query_pictures(client, questions) == 1
    assert not await questions.exists(voted)
