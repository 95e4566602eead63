"""The check against Discord's OpenAPI document, on a small document of the same form."""

from pathlib import Path
from typing import Any

import orjson
import pytest

from infra.sandbox.simulator.payloads import GivenPayload
from infra.sandbox.simulator.simulator import Exchange
from tests.support.openapi import RELAXATIONS, DiscordDocument, DiscordTape, find_document
from tests.tree import ROOT

SNOWFLAKE = {"type": "string", "pattern": "^[0-9]+$"}
MESSAGE = {
    "type": "object",
    "properties": {"id": SNOWFLAKE, "flags": {"type": "integer"}, "reply": {"oneOf": [{"type": "null"}, {"type": "object"}]}},
    "required": ["id", "flags"],
}
ERROR = {"type": "object", "properties": {"code": {"type": "integer"}}, "required": ["code"]}


def json_body(schema: dict[str, Any]) -> dict[str, Any]:
    return {"content": {"application/json": {"schema": schema}}}


DOCUMENT: dict[str, Any] = {
    "paths": {
        "/channels/{channel_id}/messages": {
            "get": {
                "parameters": [{"name": "limit", "in": "query", "schema": {"type": "integer", "minimum": 1, "maximum": 100}}],
                "responses": {
                    "200": json_body({"type": "array", "items": {"$ref": "#/components/schemas/MessageResponse"}}),
                    "4XX": {"$ref": "#/components/responses/ClientErrorResponse"},
                },
            },
            "post": {
                "requestBody": json_body({"type": "object", "properties": {"content": {"type": "string", "maxLength": 5}}})
                | {"required": True},
                "responses": {"200": json_body({"$ref": "#/components/schemas/MessageResponse"})},
            },
        },
        "/users/{user_id}": {"get": {"responses": {"200": json_body({"type": "object", "required": ["name"]})}}},
        "/users/@me": {"get": {"responses": {"200": json_body({"type": "object", "required": ["locale"]}), "204": {}}}},
    },
    "components": {
        "schemas": {
            "MessageResponse": MESSAGE,
            "SnowflakeType": SNOWFLAKE,
            "ErrorResponse": ERROR,
            "MessageAttachmentRequest": {"properties": {"id": SNOWFLAKE}},
            "CreatePrivateChannelRequest": {"properties": {}},
            "ApplicationCommandUpdateRequest": {"properties": {}},
            "ChannelTypes": {"oneOf": []},
            "GuildChannelResponse": {"properties": {"type": {"enum": []}}},
            "ThreadResponse": {"properties": {}},
            "MessageReferenceType": {"oneOf": []},
            "InnerErrors": {"properties": {"_errors": {}}},
            "RatelimitedResponse": {"allOf": [{}]},
        },
        "responses": {"ClientErrorResponse": json_body({"$ref": "#/components/schemas/ErrorResponse"})},
    },
}

CALL = "/channels/123456789012345678/messages"


@pytest.fixture
def tape(tmp_path: Path) -> DiscordTape:
    path = tmp_path / "openapi.json"
    path.write_bytes(orjson.dumps(DOCUMENT))
    return DiscordTape(DiscordDocument(path))


def exchange(
    method: str, path: str, sent: object = None, status: int | None = 200, answered: object = None, **query: str
) -> Exchange:
    return Exchange(method, path, query, sent, status, answered)


FITS = {"id": "123456789012345678", "flags": 0}


@pytest.mark.parametrize(
    ("heard", "said"),
    [
        (exchange("POST", CALL, {"content": "hello"}, answered=FITS), []),
        (exchange("GET", CALL, answered=[FITS, FITS], limit="100"), []),
        (exchange("GET", CALL, status=403, answered={"code": 50001}), []),
        (exchange("GET", "/users/@me", status=204), []),
        (
            exchange("POST", CALL, {"content": "hello!"}, answered=FITS),
            ["POST /channels/{channel_id}/messages (request) at /content: 'hello!' is too long"],
        ),
        (exchange("POST", CALL, answered=FITS), ["POST /channels/{channel_id}/messages (request): it has no body"]),
        (
            exchange("POST", CALL, {"content": "x"}, answered={"id": 5, "flags": 0}),
            ["POST /channels/{channel_id}/messages (answer 200) at /id: 5 is not of type 'string'"],
        ),
        (
            exchange("GET", CALL, answered=[FITS, {"id": "1"}]),
            ["GET /channels/{channel_id}/messages (answer 200): 'flags' is a required property"],
        ),
        (
            exchange("GET", CALL, status=404, answered={"message": "Unknown"}),
            ["GET /channels/{channel_id}/messages (answer 404): 'code' is a required property"],
        ),
        (
            exchange("GET", CALL, answered=[], limit="101"),
            ["GET /channels/{channel_id}/messages?limit: 101 is greater than the maximum of 100"],
        ),
        (
            exchange("GET", CALL, answered=[], limit="x"),
            ["GET /channels/{channel_id}/messages?limit: 'x' is not of type 'integer'"],
        ),
        (
            exchange("GET", CALL, answered=[], page="2"),
            ["GET /channels/{channel_id}/messages?page: the document has no such parameter"],
        ),
        (exchange("GET", "/users/@me", answered={"name": "x"}), ["GET /users/@me (answer 200): 'locale' is a required property"]),
        (
            exchange("GET", "/users/12", answered={"locale": "x"}),
            ["GET /users/{user_id} (answer 200): 'name' is a required property"],
        ),
        (exchange("DELETE", "/users/@me", status=204), ["DELETE /users/@me: the document has no such call"]),
        (exchange("GET", "/users/12", status=204), ["GET /users/{user_id} (answer 204): the document has no such answer"]),
        (exchange("GET", "/users/@me", status=None), []),
    ],
)
def test_what_does_not_fit_is_said_with_its_place(tape: DiscordTape, heard: Exchange, said: list[str]) -> None:
    tape.hear_exchange(heard)
    assert tape.report() == said
    assert tape.report() == []


def test_a_violation_is_said_again_in_every_test_in_which_it_happens(tape: DiscordTape) -> None:
    for number in (1, 2):
        tape.hear_event("MESSAGE_CREATE", {"id": f"12345678901234567{number}"})
        assert tape.report() == ["MESSAGE_CREATE: 'flags' is a required property"]
    assert len(tape.document.checked) == 1


def test_only_answers_are_checked_where_a_test_sends_what_discord_refuses(tape: DiscordTape) -> None:
    tape.requests_too = False
    tape.hear_exchange(exchange("POST", CALL, {"content": 5}, status=200, answered={}))
    tape.hear_exchange(exchange("GET", "/nowhere", status=404, answered={}))
    assert tape.report() == [
        f"POST /channels/{{channel_id}}/messages (answer 200): {each!r} is a required property" for each in ("id", "flags")
    ]


def test_a_payload_that_a_test_gave_is_not_checked_wherever_it_is(tape: DiscordTape) -> None:
    given = GivenPayload(id=None)
    tape.hear_exchange(exchange("GET", CALL, answered=[given, FITS | {"reply": given}]))
    tape.hear_event("MESSAGE_CREATE", given)
    tape.hear_event("INTERACTION_CREATE", {"data": {"resolved": {"messages": {"1": given}}}})
    assert tape.report() == []


def test_every_relaxation_is_listed_with_its_reason() -> None:
    page = (ROOT / "docs/discord-simulator.md").read_text()
    listed = [line.split("|")[1].strip(" `") for line in page.splitlines() if line.startswith("| `/components/")]
    assert listed == list(RELAXATIONS)


def test_a_document_that_does_not_exist_is_a_mistake_of_the_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("MAPSEEK_DISCORD_OPENAPI", raising=False)
    assert find_document() is None
    monkeypatch.setenv("MAPSEEK_DISCORD_OPENAPI", str(tmp_path / "none.json"))
    with pytest.raises(pytest.UsageError, match="which is no file"):
        find_document()
