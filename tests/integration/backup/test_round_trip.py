"""A restored installation equals the exported one, and its stages continue where they were."""

from pathlib import Path

from nats.js.api import ConsumerConfig

from contracts.events import GenerationDropped, ImageEmbedded, ImagePosted, RemovalRequested
from contracts.subjects import FAILURES, IMAGES, INCIDENTS, REMOVALS, RETRIES
from infra.nats.consumers import list_consumers
from infra.nats.projections import read_generations
from infra.nats.state import open_state
from pipeline.backup.archive_file import BLOBS
from pipeline.engine import topology
from pipeline.engine.consumers import plan_consumers
from pipeline.engine.registry import STAGES
from tests.support.backups import Installation, list_blob_names, read_incidents, record_post, record_sample_log
from tests.support.facts import MOMENT, VECTOR, founding_facts
from tests.support.posts import hidden, shown


async def test_a_restored_installation_equals_the_exported_one(source: Installation, target: Installation, archive: Path) -> None:
    await record_sample_log(source)
    exported = await source.export(archive)
    assert exported.entries == {
        "FAILURES": 3,
        "RETRIES": 3,
        "IMAGES": 17,
        "JUDGEMENTS": 1,
        "ALERTS": 1,
        "REMOVALS": 1,
        "INCIDENTS": 6,
    }
    assert (exported.blobs, exported.missing) == (14, [])
    restored = await target.restore(archive)
    assert (restored.entries, restored.blobs, restored.blob_bytes) == (exported.entries, 14, exported.blob_bytes)
    assert await target.dump_all() == await source.dump_all()
    assert await (await open_state(target.client)).read_all() == {"settings.7": b'{"locale": "de"}'}
    for store, names in (await list_blob_names(source)).items():
        for name in names:
            assert await target.stores[store].get(name) == await source.stores[store].get(name)
    assert [entry.image_id async for entry in target.catalogue.scan()] == ["image-1", "image-2", "image-3"]
    assert (await read_generations(target.client)).active == (await read_generations(source.client)).active


async def test_hidden_images_are_hidden_in_the_restored_installation(
    source: Installation, target: Installation, archive: Path
) -> None:
    await source.record(*founding_facts())
    for number in (1, 2):
        post = (await record_post(source, number))[0]
        assert isinstance(post, ImagePosted)
        await source.record(hidden(post), *([shown(post, spoiler=True)] if number == 2 else []))
    one = {"scope": "image", "target": "image-9", "message_id": "message-9", "expired": True}
    await source.record(RemovalRequested(guild_id="7", removal_id="r1", cause="deleted", requested_at=MOMENT, **one))
    await source.export(archive)
    await target.restore(archive)
    for stream in (IMAGES, REMOVALS):
        assert await target.dump(stream) == await source.dump(stream)
    entries = await target.catalogue.entries(["image-1", "image-2"])
    assert {image_id: entry.document["visibility"] for image_id, entry in entries.items()} == {
        "image-2": {"turn": 1, "hidden": False, "spoiler": True}
    }


async def test_a_second_export_adds_only_what_is_new(source: Installation, target: Installation, archive: Path) -> None:
    await record_sample_log(source)
    await source.export(archive)
    nothing = await source.export(archive)
    assert (set(nothing.entries.values()), nothing.blobs) == ({0}, 0)
    await record_post(source, 4)
    await (await open_state(source.client)).put("settings.7", b"{}")
    more = await source.export(archive)
    assert {stream: number for stream, number in more.entries.items() if number} == {IMAGES: 5}
    assert more.blobs == 4
    await target.restore(archive)
    assert await target.dump_all() == await source.dump_all()
    assert await (await open_state(target.client)).read_all() == {"settings.7": b"{}"}


async def test_vectors_of_a_dropped_generation_stay_out_of_the_catalogue(
    source: Installation, target: Installation, archive: Path
) -> None:
    """A stage that was working when the generation was dropped may have recorded one more vector."""
    await record_sample_log(source)
    image = {"guild_id": "7", "channel_id": "8", "image_id": "image-1"}
    await source.record(GenerationDropped(generation="g2"), ImageEmbedded(**image, generation="g2", vector=VECTOR))
    await source.export(archive)
    await target.restore(archive)
    assert await target.catalogue.vector("image-1", "g1") == VECTOR
    assert await target.catalogue.vector("image-1", "g2") is None


async def test_stages_continue_where_they_were(source: Installation, target: Installation, archive: Path) -> None:
    """This also holds in a log without the gaps of the old one."""
    await record_sample_log(source)
    await topology.ensure_topology(source.client, STAGES)
    await source.settle_next("download-image", 2)
    await source.settle_next("persist-image", 3)
    await source.client.jetstream().delete_msg(IMAGES, 2)
    await source.export(archive)
    await target.restore(archive)
    for durable in ("download-image", "persist-image", "embed-image-g1", "erase-image"):
        there = await target.client.jetstream().consumer_info(IMAGES, durable)
        here = await source.client.jetstream().consumer_info(IMAGES, durable)
        assert (there.num_pending, there.config.filter_subjects) == (here.num_pending, here.config.filter_subjects), durable
    assert await target.peek_next("download-image") == await source.peek_next("download-image")
    await topology.ensure_topology(target.client, STAGES)


async def test_only_consumers_that_the_stages_need_are_exported(source: Installation, target: Installation, archive: Path) -> None:
    """Neither a foreign one nor that of an unfinished replay is; one of an earlier release gets the subjects of this one."""
    await record_sample_log(source)
    await topology.ensure_topology(source.client, STAGES)
    js = source.client.jetstream()
    for name in ("theirs", "embed-image-g1-past", "replay-persist-image-0123456789"):
        await js.add_consumer(IMAGES, ConsumerConfig(durable_name=name, name=name, metadata={"a": "b"}))
    await js.add_consumer(IMAGES, ConsumerConfig(durable_name="pushed", name="pushed", deliver_subject="elsewhere"))
    ours = (await js.consumer_info(IMAGES, "persist-image")).config
    await js.add_consumer(IMAGES, ours.evolve(filter_subjects=["mapseek.image.posted.*.>"]))
    await source.export(archive)
    await target.restore(archive)
    there = [each for each in await list_consumers(target.client, IMAGES) if not each.name.startswith("reader-")]
    wanted = [each for each in plan_consumers(STAGES, await read_generations(source.client)) if each.stream == IMAGES]
    assert {each.name: each.filters for each in there} == {each.name: tuple(each.config.filter_subjects or ()) for each in wanted}


async def test_dead_letters_and_incidents_follow_their_entries(source: Installation, target: Installation, archive: Path) -> None:
    await record_sample_log(source)
    await source.client.jetstream().delete_msg(IMAGES, 4)
    await source.export(archive)
    await target.restore(archive)
    for stream in (FAILURES, RETRIES):
        for subject, headers, body in await target.dump(stream):
            entry = await target.client.jetstream().get_last_msg(IMAGES, headers["mapseek-subject"])
            assert (subject.split(".")[4], headers["mapseek-sequence"]) == (str(entry.seq), str(entry.seq))
            assert body == (entry.data or b"") + b"\xff"
    places = {}
    for incident in read_incidents(await target.dump(INCIDENTS)):
        places.setdefault(incident.entity_id, set()).add(incident.sequence)
    letters = {
        headers["mapseek-subject"].split(".")[5]: {int(headers["mapseek-sequence"])}
        for _, headers, _ in await target.dump(FAILURES)
    }
    assert places == letters


async def test_a_missing_blob_is_reported_and_the_rest_is_exported(
    source: Installation, target: Installation, archive: Path
) -> None:
    await record_sample_log(source)
    name = await source.stores[BLOBS].put(b"pixels of 1")
    await source.stores[BLOBS].delete(name)
    exported = await source.export(archive)
    assert (exported.blobs, exported.missing) == (13, [name])
    await source.stores[BLOBS].put(b"pixels of 1")
    assert (await source.export(archive)).blobs == 1
    assert (await target.restore(archive)).missing == []
