"""The language: subjects, envelopes, versions, schemas and golden files."""

from pathlib import Path

import jsonschema
import orjson
import pytest

from contracts.envelope import Origin, fact_of, headers_of, origin_of
from contracts.errors import Malformed
from contracts.events import FACTS, ImagePosted
from contracts.events.base import Fact
from contracts.subjects import STREAM_SUBJECTS, entity_filters, kind_filter, parse_subject, stream_of, subject_of
from infra.nats.reader import body_of, read
from pipeline.schemas import asyncapi, check_files
from tests.support.facts import MOMENT, one_of_each, posted

GOLDEN = Path(__file__).parents[1] / "golden"

every_fact = pytest.mark.parametrize("fact", one_of_each(), ids=lambda fact: fact.type_name())


def test_the_examples_cover_every_fact() -> None:
    assert {fact.type_name() for fact in one_of_each()} == set(FACTS)


@every_fact
def test_a_fact_survives_the_wire(fact: Fact) -> None:
    headers = headers_of(fact, Origin("message-10", "cause"), "test", MOMENT)
    recorded = read(subject_of(fact), headers, body_of(fact))
    assert recorded.fact == fact
    assert recorded.origin == Origin("message-10", "cause")


@every_fact
def test_a_golden_file_of_every_version_still_decodes(fact: Fact) -> None:
    golden = GOLDEN / f"{fact.type_name()}.v{fact.version}.json"
    assert fact_of(fact.type_name(), fact.version, orjson.loads(golden.read_bytes())) == fact


def test_every_golden_file_still_decodes() -> None:
    for golden in GOLDEN.glob("*.json"):
        name, version = golden.stem.rsplit(".v", 1)
        assert fact_of(name, int(version), orjson.loads(golden.read_bytes())).type_name() == name


@every_fact
def test_a_payload_fits_its_published_schema(fact: Fact) -> None:
    schema = FACTS[fact.type_name()].model_json_schema(mode="serialization")
    jsonschema.validate(orjson.loads(body_of(fact)), schema)


def test_the_committed_schemas_are_current() -> None:
    assert check_files() == [], "run `make schema`"


def test_asyncapi_knows_every_fact_and_every_reference_resolves() -> None:
    document = asyncapi()
    assert set(document["channels"]) == set(FACTS)
    for operation in document["operations"].values():
        channel = operation["channel"]["$ref"].removeprefix("#/channels/")
        assert operation["messages"] == [{"$ref": f"#/channels/{channel}/messages/{channel}"}]


def test_a_fact_is_on_the_subject_of_its_entity() -> None:
    subjects = {fact.type_name(): subject_of(fact) for fact in one_of_each()}
    assert subjects["image.posted"] == "mapseek.image.posted.v1.7.9.10"
    assert subjects["image.embedded"] == "mapseek.image.embedded.v1.7.9.g1"
    assert subjects["search.requested"] == "mapseek.search.requested.v1.7.11"
    assert subjects["generation.activated"] == "mapseek.generation.activated.v1.1"


@every_fact
def test_a_subject_is_parsed_back(fact: Fact) -> None:
    assert parse_subject(subject_of(fact)) == (fact.type_name(), fact.version)
    assert stream_of(fact) in STREAM_SUBJECTS


def test_filters() -> None:
    assert kind_filter(ImagePosted) == "mapseek.image.posted.*.>"
    assert entity_filters("image", "7", "9") == ("mapseek.image.*.*.7.9", "mapseek.image.*.*.7.9.>")


@pytest.mark.parametrize("subject", ["mapseek.image", "other.image.posted.v1.7.9", "mapseek.image.posted.one.7.9", ""])
def test_other_subjects_are_malformed(subject: str) -> None:
    with pytest.raises(Malformed):
        parse_subject(subject)


@pytest.mark.parametrize("hostile", ["7.8", "7 8", "*", ">", "", "a" * 65, "ä"])
def test_an_id_that_would_change_the_subject_is_refused(hostile: str) -> None:
    with pytest.raises(ValueError, match="guild_id"):
        posted(guild_id=hostile)


@pytest.mark.parametrize(
    ("subject", "body", "reason"),
    [
        ("mapseek.image.posted.v1.7.9.10", b"not json", "is not JSON"),
        ("mapseek.image.posted.v1.7.9.10", b"\xff\xfe", "is not JSON"),
        ("mapseek.image.posted.v1.7.9.10", b"[]", "not a JSON object"),
        ("mapseek.image.posted.v1.7.9.10", b"{}", "Field required"),
        ("mapseek.image.posted.v2.7.9.10", body_of(posted()), "newer MapSeek"),
        ("mapseek.image.vanished.v1.7.9", b"{}", "no fact is called"),
        ("mapseek.image.posted.v1.7.9.11", body_of(posted()), "another entity"),
    ],
)
def test_unreadable_messages_are_malformed_with_a_reason(subject: str, body: bytes, reason: str) -> None:
    with pytest.raises(Malformed, match=reason):
        read(subject, {}, body)


def test_a_newer_fact_with_an_unknown_field_is_read() -> None:
    document = orjson.loads(body_of(posted())) | {"mood": "proud"}
    assert read("mapseek.image.posted.v1.7.9.10", {}, orjson.dumps(document)).fact == posted()


class PostedV3(ImagePosted):
    version = 3


def test_an_old_version_is_upcast_step_by_step() -> None:
    old = orjson.loads(body_of(posted()))
    old["title"] = old.pop("filename")

    def rename(document: dict[str, object]) -> dict[str, object]:
        return {**document, "name": document["title"]}

    def rename_again(document: dict[str, object]) -> dict[str, object]:
        return {**document, "filename": document["name"]}

    upcasters = {("image.posted", 1): rename, ("image.posted", 2): rename_again}
    fact = fact_of("image.posted", 1, old, facts={"image.posted": PostedV3}, upcasters=upcasters)
    assert isinstance(fact, PostedV3)
    assert fact.filename == "dragon.png"
    with pytest.raises(Malformed, match="no upcaster"):
        fact_of("image.posted", 1, old, facts={"image.posted": PostedV3}, upcasters={})


def test_headers_are_cloudevents_with_one_trace_for_one_origin() -> None:
    headers = headers_of(posted(), Origin("message-10"), "mapseek/test", MOMENT)
    assert headers["ce-specversion"] == "1.0"
    assert headers["ce-type"] == "mapseek.image.posted.v1"
    assert headers["ce-id"] == "mapseek.image.posted.v1.7.9.10"
    assert "ce-causationid" not in headers
    again = headers_of(posted("12"), Origin("message-10"), "mapseek/test", MOMENT)
    assert headers["traceparent"].split("-")[1] == again["traceparent"].split("-")[1]
    assert headers["traceparent"].split("-")[2] != again["traceparent"].split("-")[2]


def test_a_fact_without_an_origin_is_its_own() -> None:
    assert origin_of({}, "subject") == Origin("subject")


def test_interaction_tokens_are_not_shown() -> None:
    from contracts.events import DiscordReply

    assert "s3cret" not in repr(DiscordReply(application_id="1", token="s3cret"))
