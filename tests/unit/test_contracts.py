"""The contracts: subjects, envelopes, versions, schemas and golden files."""

from pathlib import Path

import jsonschema
import orjson
import pytest

from contracts.envelope import Origin, build_headers, parse_origin, parse_payload
from contracts.errors import Malformed
from contracts.events import FACTS, DiscordFile, ImageEmbedded, ImageHidden, ImagePosted, RemovalRequested
from contracts.events.base import Fact, is_web_address
from contracts.subjects import (
    BACKFILLS,
    FORGOTTEN,
    MARKS,
    MESSAGE,
    RECORD,
    SETTINGS,
    STREAM_SUBJECTS,
    DeadLetterKey,
    backfill_key,
    entity_filters,
    failure_subject,
    forgotten_key,
    import_key,
    kind_filter,
    mark_key,
    owner_key,
    parse_dead_letter,
    parse_state_key,
    parse_subject,
    requests_key,
    retry_subject,
    settings_key,
    stream_of,
    subject_of,
)
from infra.nats.reader import decode_fact, encode_body
from pipeline.schemas import build_asyncapi, find_stale_files
from tests.support.facts import IMAGE, MOMENT, example_facts, posted

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


@pytest.mark.parametrize(
    "subject",
    [
        "mapseek.image",
        "other.image.posted.v1.7.9",
        "mapseek.image.posted.one.7.9",
        "",
        "mapseek.image.posted.v1.",
        "mapseek.image.posted.v0.7.9",
        "mapseek.image.posted.v\u00b2.7.9",
        "mapseek.image.posted.v1.7.9\n",
        "mapseek.image.posted.v1.7.9\r\nPUB x 0",
        "mapseek.image.posted.v1.*.>",
        "mapseek.image.posted.v1.7 9",
        f"mapseek.image.posted.v1.{'7' * 65}",
        "$JS.API.STREAM.DELETE.IMAGES",
        "$KV.mapseek-state.settings.7",
    ],
)
def test_other_subjects_are_malformed(subject: str) -> None:
    with pytest.raises(Malformed, match="is not the subject of a fact"):
        parse_subject(subject)


@pytest.mark.parametrize("generation", [None, "g2"])
def test_the_subject_of_a_dead_letter_is_parsed_back(generation: str | None) -> None:
    key = DeadLetterKey("embed", "image", "123", generation)
    assert parse_dead_letter(failure_subject(*key)) == parse_dead_letter(retry_subject(*key)) == key


def test_the_dead_letter_of_a_message_names_its_guild_but_its_id_does_not() -> None:
    key = DeadLetterKey(RECORD, MESSAGE, "1400000000000000001", guild_id="7")
    assert failure_subject(*key) == "mapseek.failure.record.message.1400000000000000001.7"
    assert parse_dead_letter(failure_subject(*key)) == parse_dead_letter(retry_subject(*key)) == key
    assert key.id == "record/message/1400000000000000001"


@pytest.mark.parametrize(
    "subject",
    [
        "mapseek.failure.embed.image",
        "mapseek.failure.embed.other.1",
        "mapseek.failure.embed.image.0",
        "mapseek.failure.embed.image.-1",
        "mapseek.failure.embed.image.1.g1.g2",
        "mapseek.failure.embed.image.1.",
        "mapseek.failure.*.image.1",
        "mapseek.failure.record.message.1",
        "mapseek.failure.embed.message.1.7",
        "mapseek.failure.record.message.1.7.g1",
        "mapseek.image.embed.image.1",
        "mapseek.failure.embed.image.1\n",
        "",
    ],
)
def test_other_subjects_are_no_dead_letters(subject: str) -> None:
    with pytest.raises(Malformed, match="is not the subject of a dead letter"):
        parse_dead_letter(subject)


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        (settings_key("7"), SETTINGS),
        (mark_key("7", "8"), MARKS),
        (backfill_key("7", "8"), BACKFILLS),
        (forgotten_key("7", "5"), FORGOTTEN),
        (owner_key(), "owner"),
    ],
)
def test_the_key_of_a_document_is_parsed_back(key: str, kind: str) -> None:
    assert parse_state_key(key) == kind


@pytest.mark.parametrize(
    "key", [import_key(), requests_key("all"), "", "settings", "settings.7.8", "mark.7", "settings.7\n", "settings.*"]
)
def test_other_keys_are_of_no_document(key: str) -> None:
    with pytest.raises(Malformed, match="is not the key of a document"):
        parse_state_key(key)


@pytest.mark.parametrize("link", ["https://discord.com/channels/7/8/10", "http://127.0.0.1:1/a", "file:///a%20b/%28c%29.png"])
def test_a_post_has_a_link_that_people_can_open(link: str) -> None:
    assert ImagePosted(**{**posted().model_dump(), "message_link": link}).message_link == link


@pytest.mark.parametrize(
    "link",
    [
        "javascript:alert(1)",
        "JavaScript:alert(1)",
        "data:text/html,x",
        "javascript://discord.com/%0aalert(1)",
        " https://discord.com",
        "https://discord.com\n",
        "https://a b",
        "https://a)[x](https://b",
        'https://a"onclick="x',
        "https://a\u202eb",
        "//discord.com",
        "https://",
        "",
    ],
)
def test_any_other_link_is_refused(link: str) -> None:
    with pytest.raises(ValueError, match="message_link"):
        ImagePosted(**{**posted().model_dump(), "message_link": link})


@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "file:///etc/passwd", "data:image/png;base64,AA", "https://a\r\nb", "https://a b", ""]
)
def test_a_file_is_fetched_from_the_web_only(url: str) -> None:
    assert not is_web_address(url)
    with pytest.raises(ValueError, match="url"):
        DiscordFile(url=url)


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00+23:00", "9999-12-31T23:59:59-23:00"])
def test_a_fact_has_a_time_in_every_time_zone(moment: str) -> None:
    with pytest.raises(ValueError, match="first or last year of the calendar"):
        ImagePosted(**{**posted().model_dump(), "posted_at": moment})


def test_a_vector_has_whole_numbers() -> None:
    with pytest.raises(ValueError, match="4 bytes for each number"):
        ImageEmbedded(**IMAGE, generation="g1", vector=bytes(5))


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


def request_removal(**fields: object) -> RemovalRequested:
    values = {"guild_id": "7", "removal_id": "r", "target": "9", "cause": "deleted", "requested_at": MOMENT}
    return RemovalRequested(**{**values, **fields})  # type: ignore[arg-type]


def test_a_removal_that_an_older_version_requested_is_read() -> None:
    old = orjson.loads((GOLDEN / "removal.requested.v1.json").read_bytes())
    assert parse_payload("removal.requested", 1, old) == request_removal(removal_id="deleted-10", scope="message", target="10")


def test_one_image_is_removed_by_its_message() -> None:
    assert request_removal(scope="image", message_id="10", expired=True).expired
    for scope, fields in (("image", {}), ("message", {"message_id": "10"}), ("guild", {"expired": True}), ("piece", {})):
        with pytest.raises(ValueError, match=r"message_id|expired|scope"):
            request_removal(scope=scope, **fields)


@pytest.mark.parametrize("turn", [0, -1, 2**31])
def test_turns_are_counted_from_one(turn: int) -> None:
    with pytest.raises(ValueError, match="turn"):
        ImageHidden(**IMAGE, message_id="10", turn=turn, hidden_at=MOMENT)
