"""The contracts: subjects, envelopes, versions, schemas and golden files."""

from pathlib import Path

import jsonschema
import orjson
import pytest

from contracts.envelope import Origin, build_headers, parse_origin, parse_payload
from contracts.errors import Malformed
from contracts.events import FACTS, ImagePosted
from contracts.events.base import Fact
from contracts.subjects import STREAM_SUBJECTS, entity_filters, kind_filter, parse_subject, stream_of, subject_of
from infra.nats.reader import decode_fact, encode_body
from pipeline.schemas import build_asyncapi, find_stale_files
from tests.support.facts import MOMENT, example_facts, posted

GOLDEN = Path(__file__).parents[1] / "golden"

every_fact = pytest.mark.parametrize("fact", example_facts(), ids=lambda fact: fact.type_name())


def test_the_examples_cover_every_fact() -> None:
    assert {fact.type_name() for fact in example_facts()} == set(FACTS)


@every_fact
def test_a_fact_is_encoded_and_decoded(fact: Fact) -> None:
    headers = build_headers(fact, Origin("message-10", "cause"), "test", MOMENT)
    recorded = decode_fact(subject_of(fact), headers, encode_body(fact))
    assert recorded.fact == fact
    assert recorded.origin == Origin("message-10", "cause")


@every_fact
def test_a_golden_file_of_every_version_still_decodes(fact: Fact) -> None:
    golden = GOLDEN / f"{fact.type_name()}.v{fact.version}.json"
    assert parse_payload(fact.type_name(), fact.version, orjson.loads(golden.read_bytes())) == fact


def test_every_golden_file_still_decodes() -> None:
    for golden in GOLDEN.glob("*.json"):
        name, version = golden.stem.rsplit(".v", 1)
        assert parse_payload(name, int(version), orjson.loads(golden.read_bytes())).type_name() == name


@every_fact
def test_a_payload_fits_its_published_schema(fact: Fact) -> None:
    schema = FACTS[fact.type_name()].model_json_schema(mode="serialization")
    jsonschema.validate(orjson.loads(encode_body(fact)), schema)


def test_the_committed_schemas_are_up_to_date() -> None:
    assert find_stale_files() == [], "run `make schema`"


def test_asyncapi_has_every_fact_and_every_reference_resolves() -> None:
    document = build_asyncapi()
    assert set(document["channels"]) == set(FACTS)
    for operation in document["operations"].values():
        channel = operation["channel"]["$ref"].removeprefix("#/channels/")
        assert operation["messages"] == [{"$ref": f"#/channels/{channel}/messages/{channel}"}]


def test_a_fact_is_on_the_subject_of_its_entity() -> None:
    subjects = {fact.type_name(): subject_of(fact) for fact in example_facts()}
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
        ("mapseek.image.posted.v2.7.9.10", encode_body(posted()), "newer MapSeek"),
        ("mapseek.image.vanished.v1.7.9", b"{}", "no fact is called"),
        ("mapseek.image.posted.v1.7.9.11", encode_body(posted()), "another entity"),
    ],
)
def test_unreadable_messages_are_malformed_with_a_reason(subject: str, body: bytes, reason: str) -> None:
    with pytest.raises(Malformed, match=reason):
        decode_fact(subject, {}, body)


def test_a_newer_fact_with_an_unknown_field_is_read() -> None:
    document = orjson.loads(encode_body(posted())) | {"mood": "proud"}
    assert decode_fact("mapseek.image.posted.v1.7.9.10", {}, orjson.dumps(document)).fact == posted()


class PostedV3(ImagePosted):
    version = 3


def test_an_old_version_is_upcast_step_by_step() -> None:
    old = orjson.loads(encode_body(posted()))
    old["title"] = old.pop("filename")

    def rename(document: dict[str, object]) -> dict[str, object]:
        return {**document, "name": document["title"]}

    def rename_again(document: dict[str, object]) -> dict[str, object]:
        return {**document, "filename": document["name"]}

    upcasters = {("image.posted", 1): rename, ("image.posted", 2): rename_again}
    fact = parse_payload("image.posted", 1, old, facts={"image.posted": PostedV3}, upcasters=upcasters)
    assert isinstance(fact, PostedV3)
    assert fact.filename == "dragon.png"
    with pytest.raises(Malformed, match="no upcaster"):
        parse_payload("image.posted", 1, old, facts={"image.posted": PostedV3}, upcasters={})


def test_headers_are_cloudevents_with_one_trace_for_one_origin() -> None:
    headers = build_headers(posted(), Origin("message-10"), "mapseek/test", MOMENT)
    assert headers["ce-specversion"] == "1.0"
    assert headers["ce-type"] == "mapseek.image.posted.v1"
    assert headers["ce-id"] == "mapseek.image.posted.v1.7.9.10"
    assert "ce-causationid" not in headers
    again = build_headers(posted("12"), Origin("message-10"), "mapseek/test", MOMENT)
    assert headers["traceparent"].split("-")[1] == again["traceparent"].split("-")[1]
    assert headers["traceparent"].split("-")[2] != again["traceparent"].split("-")[2]


def test_a_fact_without_an_origin_is_its_own_origin() -> None:
    assert parse_origin({}, "subject") == Origin("subject")


def test_interaction_tokens_are_not_in_the_repr() -> None:
    from contracts.events import DiscordReply

    assert "s3cret" not in repr(DiscordReply(application_id="1", token="s3cret"))
