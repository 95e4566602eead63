"""Request bodies: JSON, or a multipart form with `payload_json` and `files[n]`."""

from dataclasses import dataclass, field

import orjson
from aiohttp import web

from infra.simulator.cdn import clean_filename
from infra.simulator.components import numbered
from infra.simulator.embeds import embedded_names
from infra.simulator.errors import JSON, ApiError, invalid_form
from infra.simulator.limits import check_files, check_message
from infra.simulator.model import EPHEMERAL, Message
from infra.simulator.world import Upload, World


@dataclass(frozen=True, slots=True)
class Body:
    """What a client sent; `files` by their number n."""

    payload: JSON
    files: dict[int, Upload] = field(default_factory=dict)


async def read_json(request: web.Request) -> object:
    """The JSON of a body. Raises ApiError 400 if it is none, or not declared to be."""
    if request.content_type != "application/json":
        raise ApiError(
            400, 50035, f'Expected "Content-Type" header to be one of {{"application/json"}}, not {request.content_type}'
        )
    return _loads(await request.read())


async def read_body(request: web.Request) -> Body:
    """The body of a call that may bring files. Raises ApiError 400."""
    if request.content_type != "multipart/form-data":
        return Body(_object(await read_json(request)))
    form = await request.post()
    payload, files = form.get("payload_json", "{}"), {}
    if not isinstance(payload, str):
        raise ApiError(400, 50109, "The request body contains invalid JSON.")
    for key, value in form.items():
        if isinstance(value, web.FileField):
            number = key.removeprefix("files[").removesuffix("]")
            if not number.isdigit():
                raise invalid_form([key], "FILE_PART_NAME", "File parts are named files[n].")
            files[int(number)] = (value.filename, value.file.read())
    return Body(_object(_loads(payload)), files)


def apply_body(world: World, message: Message, payload: JSON, files: dict[int, Upload]) -> None:
    """Write a body into a message: absent fields stay as they are. Raises ApiError, and then nothing was changed.

    `attachments`, where given, lists what the message has afterwards: the ids of files to keep and the numbers of new ones;
    where absent, new files join the old.
    """
    check_message(payload)
    listed = payload.get("attachments")
    entries: list[JSON] = [{"id": number} for number in files] if listed is None else listed
    named = {int(entry["id"]): entry for entry in entries}
    kept = [each for each in message.attachments if listed is None or each.id in named]
    known = {each.id for each in message.attachments} | set(files)
    if stranger := next((number for number in (*named, *files) if number not in known or number not in named), None):
        raise invalid_form(["attachments"], "ATTACHMENT_NOT_FOUND", f"Attachment {stranger} has no file, or its file no entry.")
    check_files([len(each.data) for each in kept] + [len(data) for _, data in files.values()])
    content = message.content if "content" not in payload else payload["content"] or ""
    embeds = message.embeds if "embeds" not in payload else payload["embeds"] or []
    components = message.components if "components" not in payload else numbered(payload["components"] or [])
    if not (content or embeds or components or kept or files):
        raise ApiError(400, 50006, "Cannot send an empty message")
    _check_references(embeds, {each.filename for each in kept} | {clean_filename(name) for name, _ in files.values()})
    ephemeral = message.flags & EPHEMERAL
    folder = f"ephemeral-attachments/{world.application_id}" if ephemeral else f"attachments/{message.channel.id}"
    added = [world.upload(folder, name, data, named[number].get("description")) for number, (name, data) in files.items()]
    for attachment in message.attachments:
        if attachment not in kept:
            world.cdn.forget(attachment)
    message.content, message.embeds, message.components = content, embeds, components
    message.attachments = kept + added


def _check_references(embeds: list[JSON], filenames: set[str]) -> None:
    missing = embedded_names(embeds) - filenames
    if missing:
        raise invalid_form(["embeds"], "ATTACHMENT_NOT_FOUND", f"No file is called {sorted(missing)[0]}.")


def _object(value: object) -> JSON:
    if not isinstance(value, dict):
        raise invalid_form([], "DICT_TYPE_CONVERT", "Only dictionaries may be used in a DictType")
    return value


def _loads(data: bytes | str) -> object:
    try:
        value: object = orjson.loads(data)
    except orjson.JSONDecodeError:
        raise ApiError(400, 50109, "The request body contains invalid JSON.") from None
    return value
