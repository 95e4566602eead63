"""Checks what goes between our client and the simulated Discord against Discord's own OpenAPI document.

The document is named by MAPSEEK_DISCORD_OPENAPI. docs/discord-simulator.md lists where we relax it.
"""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import orjson
import pytest
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError, best_match
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from infra.sandbox.simulator.simulator import Exchange

DOCUMENT_VARIABLE = "MAPSEEK_DISCORD_OPENAPI"

_GIVEN = "(a test gave this payload)"
"""Stands for a message object whose fields a test replaced: it is not checked."""

_DIFFERENT_EACH_TIME = re.compile(rb'"?\b\d{15,20}\b"?|"\d{4}-\d\d-\d\dT[^"]*"|https?://[^"\s)]*|"token":"[^"]*"')
"""Ids, times, URLs and tokens. Bodies that differ in them alone are checked once."""

_SNOWFLAKE = {"$ref": "#/components/schemas/SnowflakeType"}

GUILD_CREATE_THREAD = "GuildCreateThread"
"""Our name for a thread of GUILD_CREATE: its membership does not repeat the ids of the thread and of the bot."""
_GUILD_CREATE_MEMBERSHIP = {"type": "object", "required": ["join_timestamp", "flags"]}

RELAXATIONS: Mapping[str, Any] = {
    "/components/schemas/MessageAttachmentRequest/properties/id": {"oneOf": [_SNOWFLAKE, {"type": "integer", "minimum": 0}]},
    "/components/schemas/CreatePrivateChannelRequest/properties/recipient_id": {
        "oneOf": [{"type": "null"}, _SNOWFLAKE, {"type": "integer", "minimum": 0}]
    },
    "/components/schemas/ApplicationCommandUpdateRequest/properties/default_member_permissions": {
        "oneOf": [{"type": "null"}, {"type": "integer"}, {"type": "string", "pattern": "^[0-9]+$"}]
    },
    "/components/schemas/ChannelTypes/oneOf/-": {"title": "GUILD_MEDIA", "const": 16},
    "/components/schemas/GuildChannelResponse/properties/type/enum/-": 16,
    "/components/schemas/MessageReferenceType/oneOf/-": {"title": "FORWARD", "const": 1},
    "/components/schemas/InnerErrors/properties/_errors/items": {
        "type": "object",
        "properties": {"code": {"type": "string"}, "message": {"type": "string"}},
        "required": ["code", "message"],
    },
    "/components/schemas/RatelimitedResponse/allOf/0": {
        "type": "object",
        "properties": {"message": {"type": "string"}, "code": {"type": "integer"}},
        "required": ["message"],
    },
}
"""What we replace in the document or, with `-` at the end, add to a list of it. docs/discord-simulator.md gives the reasons."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A JSON value and where it was heard. `schema` is the pointer of its schema in the document."""

    place: str
    schema: str
    body: bytes


@dataclass
class DiscordDocument:
    """Discord's OpenAPI document. It knows the answer for every kind of body that it has checked."""

    path: Path
    checked: dict[tuple[str, bytes], list[str]] = field(default_factory=dict)

    @cached_property
    def content(self) -> dict[str, Any]:
        """The document with our relaxations."""
        document: dict[str, Any] = orjson.loads(self.path.read_bytes())
        for pointer, value in RELAXATIONS.items():
            *parents, last = _split_pointer(pointer)
            inside = _follow(document, parents)
            if last == "-":
                inside.append(value)
            else:
                inside[int(last) if isinstance(inside, list) else last] = value
        thread = document["components"]["schemas"]["ThreadResponse"]
        properties = {**thread["properties"], "member": _GUILD_CREATE_MEMBERSHIP}
        document["components"]["schemas"][GUILD_CREATE_THREAD] = {**thread, "properties": properties}
        return document

    @cached_property
    def _validator(self) -> Draft202012Validator:
        registry: Registry[Any] = Registry().with_resource("discord", Resource(self.content, DRAFT202012))
        return Draft202012Validator({"$ref": "discord"}, registry=registry)

    @cached_property
    def _templates(self) -> dict[int, list[tuple[list[str], str]]]:
        found: dict[int, list[tuple[list[str], str]]] = {}
        for template in sorted(self.content["paths"], key=lambda each: each.count("{")):
            parts = template.split("/")
            found.setdefault(len(parts), []).append((parts, template))
        return found

    def find_template(self, path: str) -> str | None:
        """Find the path of the document that a request's path is one of. Words come before parameters."""
        parts = path.split("/")
        for candidate, template in self._templates.get(len(parts), ()):
            if all(wanted == part or wanted.startswith("{") for wanted, part in zip(candidate, parts, strict=True)):
                return template
        return None

    def check(self, piece: Piece) -> list[str]:
        """Return what is wrong with a value, each with its pointer."""
        key = piece.schema, _DIFFERENT_EACH_TIME.sub(b"1", piece.body)
        if key not in self.checked:
            validator = self._validator.evolve(schema={"$ref": f"discord#{piece.schema}"})
            errors = validator.iter_errors(orjson.loads(piece.body))
            self.checked[key] = [_describe(each) for each in errors if each.instance != _GIVEN]
        return self.checked[key]


def find_document() -> DiscordDocument | None:
    """Return the document that the environment names, None if it names none. Raises UsageError if it does not exist."""
    named = os.environ.get(DOCUMENT_VARIABLE)
    if not named:
        return None
    if not Path(named).is_file():
        raise pytest.UsageError(f"{DOCUMENT_VARIABLE} names {named}, which is no file: correct it, or leave it out.")
    return DiscordDocument(Path(named).resolve())


DISCORD_DOCUMENT = find_document()
"""The document of this run, None if there is none."""


@dataclass
class DiscordTape:
    """Hears the exchanges and events of every simulator of the process, for one test after the other."""

    document: DiscordDocument
    requests_too: bool = True
    pieces: dict[Piece, None] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)

    def hear_exchange(self, exchange: Exchange) -> None:
        """Keep the parameters and bodies of an exchange with the schemas that they must fit."""
        template, method = self.document.find_template(exchange.path), exchange.method.lower()
        operation = self.document.content["paths"].get(template, {}).get(method)
        if operation is None:
            if self.requests_too:
                self.violations.append(f"{exchange.method} {exchange.path}: the document has no such call")
            return
        place, pointer = f"{exchange.method} {template}", f"/paths/{_quote(str(template))}/{method}"
        if self.requests_too:
            self._keep_request(exchange, operation, place, pointer)
        if exchange.status is not None:
            self._keep_answer(exchange, operation, f"{place} (answer {exchange.status})", f"{pointer}/responses")

    def _keep_request(self, exchange: Exchange, operation: dict[str, Any], place: str, pointer: str) -> None:
        declared = {each["name"]: number for number, each in enumerate(operation.get("parameters", ())) if each["in"] == "query"}
        for name, value in exchange.query.items():
            if name in declared:
                schema = operation["parameters"][declared[name]]["schema"]
                self._keep(f"{place}?{name}", f"{pointer}/parameters/{declared[name]}/schema", _parse_parameter(value, schema))
            else:
                self.violations.append(f"{place}?{name}: the document has no such parameter")
        wanted = operation.get("requestBody", {})
        if exchange.sent is None and wanted.get("required"):
            self.violations.append(f"{place} (request): it has no body")
        if exchange.sent is not None and wanted:
            self._keep(f"{place} (request)", f"{pointer}/requestBody/content/application~1json/schema", exchange.sent)

    def _keep_answer(self, exchange: Exchange, operation: dict[str, Any], place: str, pointer: str) -> None:
        keys = (str(exchange.status), f"{str(exchange.status)[0]}XX")
        declared = next((key for key in keys if key in operation["responses"]), None)
        if declared is None:
            self.violations.append(f"{place}: the document has no such answer")
            return
        there, answer = f"{pointer}/{declared}", operation["responses"][declared]
        if "$ref" in answer:
            there = answer["$ref"].removeprefix("#")
            answer = _follow(self.document.content, _split_pointer(there))
        if "content" in answer:
            self._keep(place, f"{there}/content/application~1json/schema", exchange.answered)

    def hear_event(self, event: str, payload: Any) -> None:
        """Keep the parts of an event of the gateway that are the objects of REST."""
        for way, schema in EVENT_PARTS.get(event, ()):
            for part in _walk(payload, way):
                self._keep(" ".join((event, *way)), f"/components/schemas/{schema}", part)

    def _keep(self, place: str, schema: str, body: Any) -> None:
        items = _follow(self.document.content, _split_pointer(schema)).get("items")
        if items is not None and isinstance(body, list):
            for item in body:
                self._keep(place, f"{schema}/items", item)
            return
        text = orjson.dumps(body, default=lambda _: _GIVEN, option=orjson.OPT_PASSTHROUGH_SUBCLASS)
        self.pieces[Piece(place, schema, text)] = None

    def report(self) -> list[str]:
        """Check what was heard, and return the violations. Afterwards nothing is kept."""
        found = [*self.violations]
        for piece in self.pieces:
            found += [f"{piece.place}{each}" for each in self.document.check(piece)]
        self.violations.clear()
        self.pieces.clear()
        return list(dict.fromkeys(found))


EVENT_PARTS: Mapping[str, Sequence[tuple[tuple[str, ...], str]]] = {
    "READY": [(("user",), "UserResponse")],
    "GUILD_CREATE": [
        ((), "GuildResponse"),
        (("channels", "*"), "GuildChannelResponse"),
        (("threads", "*"), GUILD_CREATE_THREAD),
        (("roles", "*"), "GuildRoleResponse"),
        (("members", "*"), "GuildMemberResponse"),
    ],
    "GUILD_MEMBER_UPDATE": [((), "GuildMemberResponse")],
    "GUILD_ROLE_CREATE": [(("role",), "GuildRoleResponse")],
    "GUILD_ROLE_UPDATE": [(("role",), "GuildRoleResponse")],
    "CHANNEL_CREATE": [((), "GuildChannelResponse")],
    "CHANNEL_UPDATE": [((), "GuildChannelResponse")],
    "CHANNEL_DELETE": [((), "GuildChannelResponse")],
    "THREAD_CREATE": [((), "ThreadResponse")],
    "THREAD_UPDATE": [((), "ThreadResponse")],
    "THREAD_LIST_SYNC": [(("threads", "*"), "ThreadResponse"), (("members", "*"), "ThreadMemberResponse")],
    "MESSAGE_CREATE": [((), "MessageResponse")],
    "MESSAGE_UPDATE": [((), "MessageResponse")],
    "INTERACTION_CREATE": [
        (("message",), "MessageResponse"),
        (("user",), "UserResponse"),
        (("member",), "GuildMemberResponse"),
        (("data", "resolved", "messages", "*"), "MessageResponse"),
        (("data", "resolved", "users", "*"), "UserResponse"),
        (("data", "resolved", "roles", "*"), "GuildRoleResponse"),
        (("data", "resolved", "attachments", "*"), "MessageAttachmentResponse"),
    ],
}
"""The parts of an event that the document has a schema for."""


def _walk(value: Any, way: Sequence[str]) -> Iterator[Any]:
    """Iterate over the values at a way through an object. `*` are all values of a list or an object."""
    if not way:
        yield value
        return
    first, *rest = way
    if first == "*":
        for each in value.values() if isinstance(value, dict) else value:
            yield from _walk(each, rest)
    elif first in value:
        yield from _walk(value[first], rest)


def _parse_parameter(value: str, schema: Mapping[str, Any]) -> Any:
    """Return a parameter of the query as the JSON value that its schema describes, itself if it is none."""
    if schema.get("type") == "integer" and value.isdecimal():
        return int(value)
    return {"true": True, "1": True, "false": False, "0": False}.get(value, value) if schema.get("type") == "boolean" else value


def _describe(error: ValidationError) -> str:
    closest = best_match([error]) or error
    pointer = "".join(f"/{part}" for part in closest.absolute_path)
    return f"{' at ' if pointer else ''}{pointer}: {closest.message[:200]}"


def _quote(part: str) -> str:
    return part.replace("~", "~0").replace("/", "~1")


def _split_pointer(pointer: str) -> list[str]:
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]


def _follow(document: Any, parts: Sequence[str]) -> Any:
    for part in parts:
        document = document[int(part)] if isinstance(document, list) else document[part]
    return document
