"""The contracts as documents for other programs: a JSON Schema for each fact, and one AsyncAPI document for all streams."""

from pathlib import Path
from typing import Any

import orjson

import contracts
from contracts.events import FACTS, Fact, GenerationActivated
from contracts.subjects import STREAM_SUBJECTS, stream_of
from pipeline.engine.registry import STAGES

CONTRACTS_FOLDER = Path(contracts.__file__).parent
SUBJECT_KEYS = {
    "image": "{guild}.{image}",
    "search": "{guild}.{search}",
    "alert": "{guild}.{alert}.{person}",
    "removal": "{guild}.{removal}",
    "generation": "{generation}",
    "incident": "{guild}.{entity}.{consumer}.{sequence}.{round}.{attempt}",
}
SUBJECT_VARIANTS = {
    "image.posted": ".{message}",
    "image.preprocessed": ".{preprocessing}",
    "image.embedded": ".{generation}",
    "image.indexed": ".{generation}",
    "image.reposted": ".{generation}",
    "image.hidden": ".{message}.{turn}",
    "image.shown": ".{message}.{turn}",
    "image.removed": ".{message}",
    "image.resurfaced": ".{late}",
    "search.browsed": ".{interaction}",
    "search.voted": ".{interaction}",
    "search.judged": ".{voter}.{interaction}",
    "alert.embedded": ".{generation}",
    "alert.triggered": ".{image}",
    "alert.delivered": ".{image}",
}


def build_documents() -> dict[Path, bytes]:
    """Return every generated file with the content that it should have."""
    schemas = {CONTRACTS_FOLDER / "schema" / f"{name}.v{fact.version}.json": _encode(_schema(fact)) for name, fact in FACTS.items()}
    return schemas | {CONTRACTS_FOLDER / "asyncapi.json": _encode(build_asyncapi())}


def find_stale_files() -> list[Path]:
    """Return the files that differ from the contracts, and files of facts that do not exist any more."""
    wanted = build_documents()
    leftover = set((CONTRACTS_FOLDER / "schema").glob("*.json")) - wanted.keys()
    return sorted(leftover) + [path for path, text in wanted.items() if not path.exists() or path.read_bytes() != text]


def write_stale_files() -> list[Path]:
    """Write files that are out of date, and delete files of facts that do not exist any more. Return the paths of both."""
    stale = find_stale_files()
    wanted = build_documents()
    for path in stale:
        if path in wanted:
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(wanted[path])
        else:
            path.unlink()
    return stale


def build_asyncapi() -> dict[str, Any]:
    """Build the AsyncAPI 3.0 document: a channel and a message for each fact, and the stages that send and receive it."""
    operations: dict[str, Any] = {}
    for stage in STAGES:
        for fact in stage.consumes:
            operations[f"{stage.name}.receives.{fact.type_name()}"] = _operation("receive", stage.name, fact)
        for fact in stage.emits:
            operations[f"{stage.name}.sends.{fact.type_name()}"] = _operation("send", stage.name, fact)
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "MapSeek",
            "version": "1",
            "description": "The facts on MapSeek's log. Each is recorded once, on the subject of its entity.",
        },
        "defaultContentType": "application/json",
        "channels": {name: _channel(name, fact) for name, fact in FACTS.items()},
        "operations": operations,
        "components": {"messages": {name: _message(name, fact) for name, fact in FACTS.items()}},
    }


def _channel(name: str, fact: type[Fact]) -> dict[str, Any]:
    key = "{number}" if fact is GenerationActivated else SUBJECT_KEYS[fact.family]
    address = f"mapseek.{name}.v{fact.version}.{key}{SUBJECT_VARIANTS.get(name, '')}"
    parameters: dict[str, Any] = {part.strip("{}"): {} for part in address.split(".") if part.startswith("{")}
    return {
        "address": address,
        "description": f"In the stream {stream_of(fact)} ({', '.join(STREAM_SUBJECTS[stream_of(fact)])}).",
        "parameters": parameters,
        "messages": {name: {"$ref": f"#/components/messages/{name}"}},
    }


def _operation(action: str, stage: str, fact: type[Fact]) -> dict[str, Any]:
    channel = f"#/channels/{fact.type_name()}"
    return {
        "action": action,
        "channel": {"$ref": channel},
        "tags": [{"name": stage}],
        "messages": [{"$ref": f"{channel}/messages/{fact.type_name()}"}],
    }


def _message(name: str, fact: type[Fact]) -> dict[str, Any]:
    return {
        "name": f"mapseek.{name}.v{fact.version}",
        "summary": " ".join((fact.__doc__ or "").split()),
        "headers": {
            "type": "object",
            "required": ["ce-specversion", "ce-id", "ce-type", "ce-source", "ce-time", "ce-correlationid"],
            "properties": {
                header: {"type": "string"}
                for header in (
                    "ce-specversion",
                    "ce-id",
                    "ce-type",
                    "ce-source",
                    "ce-time",
                    "ce-correlationid",
                    "ce-causationid",
                    "traceparent",
                )
            },
        },
        "payload": {"$ref": f"schema/{name}.v{fact.version}.json"},
    }


def _schema(fact: type[Fact]) -> dict[str, Any]:
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **fact.model_json_schema(mode="serialization")}


def _encode(document: dict[str, Any]) -> bytes:
    return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE | orjson.OPT_SORT_KEYS)
