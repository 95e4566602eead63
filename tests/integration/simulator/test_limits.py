"""Limits of messages: what Discord would refuse is refused, with Discord's error codes."""

import json
from typing import Any

import aiohttp
import disnake
import pytest

from infra.sandbox.simulator import Channel, Interaction, Simulator
from tests.support.gateway import new_file, webhook
from tests.support.openapi import DISCORD_DOCUMENT

LONG_TEXT = "x" * 5000


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({"content": LONG_TEXT[:2001]}, "content"),
        ({"embeds": [{"title": "x"}] * 11}, "embeds"),
        ({"embeds": [{"title": LONG_TEXT[:257]}]}, "embeds.0.title"),
        ({"embeds": [{"description": LONG_TEXT[:4097]}]}, "embeds.0.description"),
        ({"embeds": [{"footer": {"text": LONG_TEXT[:2049]}}]}, "embeds.0.footer.text"),
        ({"embeds": [{"author": {"name": LONG_TEXT[:257]}}]}, "embeds.0.author.name"),
        ({"embeds": [{"fields": [{"name": "n", "value": "v"}] * 26}]}, "embeds.0.fields"),
        ({"embeds": [{"fields": [{"name": LONG_TEXT[:257], "value": "v"}]}]}, "embeds.0.fields.0.name"),
        ({"embeds": [{"fields": [{"name": "n", "value": LONG_TEXT[:1025]}]}]}, "embeds.0.fields.0.value"),
        ({"embeds": [{"fields": [{"name": "n", "value": ""}]}]}, "embeds.0.fields.0.value"),
        ({"embeds": [{"description": LONG_TEXT[:3001]}, {"description": LONG_TEXT[:3000]}]}, "embeds"),
        ({"embeds": [{"url": "ftp://example.org"}]}, "embeds.0.url"),
        ({"embeds": [{"image": {"url": "not a link"}}]}, "embeds.0.image.url"),
        ({"embeds": [{"image": {"url": "attachment://absent.png"}}]}, "embeds"),
        ({"embeds": "none"}, "embeds"),
        ({"content": 7}, "content"),
        ({"attachments": [{"id": 5}], "content": "x"}, "attachments"),
        ({"attachments": [{"id": "x"}], "content": "x"}, "attachments.0.id"),
        ({"embeds": [7]}, "embeds.0"),
        ({"embeds": [{"footer": "foot"}]}, "embeds.0.footer"),
        ({"embeds": [{"fields": ["f"]}]}, "embeds.0.fields.0"),
        ({"components": [{}] * 6}, "components"),
        ({"embeds": [{}]}, "embeds.0.description"),
        ({"embeds": [{"fields": []}]}, "embeds.0.description"),
        ({"embeds": [{"title": "x", "footer": {}}]}, "embeds.0.footer.text"),
        ({"embeds": [{"title": "x", "author": {"url": "https://x.org"}}]}, "embeds.0.author.name"),
        ({"embeds": [{"title": "x", "image": {}}]}, "embeds.0.image.url"),
        ({"embeds": [{"title": "x", "thumbnail": {"width": 1}}]}, "embeds.0.thumbnail.url"),
        ({"embeds": [{"title": "x", "color": 1 << 24}]}, "embeds.0.color"),
        ({"embeds": [{"title": "x", "color": -1}]}, "embeds.0.color"),
        ({"embeds": [{"title": "x", "color": "red"}]}, "embeds.0.color"),
        ({"embeds": [{"title": "x", "timestamp": "tomorrow"}]}, "embeds.0.timestamp"),
        ({"embeds": [{"title": "x", "timestamp": 5}]}, "embeds.0.timestamp"),
        ({"embeds": [{"title": "x", "url": f"https://x.org/{LONG_TEXT[:2048]}"}]}, "embeds.0.url"),
        ({"embeds": [{"title": "x", "url": 5}]}, "embeds.0.url"),
        ({"embeds": [{"fields": [{"name": "n", "value": "v", "inline": 1}]}]}, "embeds.0.fields.0.inline"),
        ({"attachments": [{"id": "0"}], "content": "x"}, "attachments"),
        ({"attachments": [{}], "content": "x"}, "attachments.0.id"),
        ({"attachments": [{"id": 0, "description": LONG_TEXT[:1025]}]}, "attachments.0.description"),
        ({"attachments": [{"id": 0, "is_spoiler": "yes"}]}, "attachments.0.is_spoiler"),
        ({"content": "x", "allowed_mentions": {"parse": ["bots"]}}, "allowed_mentions.parse.0"),
        ({"content": "x", "allowed_mentions": {"users": ["1"] * 101}}, "allowed_mentions.users"),
        ({"content": "x", "allowed_mentions": {"users": ["1", "1"]}}, "allowed_mentions.users"),
        ({"content": "x", "allowed_mentions": {"roles": ["steve"]}}, "allowed_mentions.roles.0"),
        ({"content": "x", "allowed_mentions": {"parse": ["roles"], "roles": ["1"]}}, "allowed_mentions"),
        ({"content": "x", "allowed_mentions": {"replied_user": 1}}, "allowed_mentions.replied_user"),
        ({"content": "x", "tts": "loud"}, "tts"),
        ({"content": "x", "flags": "4"}, "flags"),
        ({"content": "x", "flags": 1 << 15, "components": [{"type": 10, "content": "a"}]}, "content"),
        ({"embeds": [{"title": "x"}], "flags": 1 << 15, "components": [{"type": 10, "content": "a"}]}, "embeds"),
        ({"poll": {"question": {"text": "q"}, "answers": []}}, "poll.answers"),
        ({"poll": {"question": {}, "answers": [{"poll_media": {"text": "a"}}]}}, "poll.question.text"),
        ({"content": "x", "sticker_ids": ["1", "2", "3", "4"]}, "sticker_ids"),
    ],
)
async def test_a_message_over_the_limits_is_refused(
    sim: Simulator, interaction: Interaction, http: aiohttp.ClientSession, body: Any, where: str
) -> None:
    url = f"{sim.api_base}/webhooks/{sim.application_id}/{interaction.token}/messages/@original"
    response = await http.patch(url, json=body)
    error = await response.json()
    assert (response.status, error["code"]) == (400, 50035)
    errors = error["errors"]
    for key in where.split("."):
        errors = errors[key]
    assert errors["_errors"][0]["code"]
    assert interaction.edits == 0


async def test_a_message_at_the_limits_is_accepted(sim: Simulator, interaction: Interaction, http: aiohttp.ClientSession) -> None:
    embeds = [disnake.Embed(title=LONG_TEXT[:256], description=LONG_TEXT[:4096]), disnake.Embed(description=LONG_TEXT[:1648])]
    await webhook(sim, http, interaction.token).edit_message(
        "@original", content=LONG_TEXT[:2000], embeds=embeds + [disnake.Embed(color=1)] * 8
    )
    assert len((await sim.answer(interaction)).embeds) == 10


async def test_invalid_bodies_are_refused(sim: Simulator, interaction: Interaction, http: aiohttp.ClientSession) -> None:
    url = f"{sim.api_base}/webhooks/{sim.application_id}/{interaction.token}/messages/@original"
    bodies: list[tuple[dict[str, Any], int, int]] = [
        ({"data": b"{", "headers": {"Content-Type": "application/json"}}, 400, 50109),
        ({"data": b"{}"}, 400, 50035),
        ({"json": {}}, 400, 50006),
        ({"json": []}, 400, 50035),
    ]
    for options, status, code in bodies:
        response = await http.patch(url, **options)
        assert (response.status, (await response.json())["code"]) == (status, code)
    hook = webhook(sim, http, interaction.token)
    with pytest.raises(disnake.HTTPException) as many:
        await hook.edit_message("@original", files=[new_file(f"{number}.png") for number in range(11)])
    assert many.value.code == 50035
    with pytest.raises(disnake.HTTPException) as large:
        await hook.edit_message("@original", file=new_file(data=bytes(10 * 1024 * 1024 + 1)))
    assert (large.value.status, large.value.code) == (413, 40005)


REFUSED_BODIES = DISCORD_DOCUMENT and DISCORD_DOCUMENT.path.with_name("refused_bodies.json")


@pytest.mark.skipif(
    not (REFUSED_BODIES and REFUSED_BODIES.is_file()), reason="no refused_bodies.json beside Discord's OpenAPI document"
)
async def test_every_body_that_discord_refuses_is_refused(sim: Simulator, channel: Channel, http: aiohttp.ClientSession) -> None:
    assert REFUSED_BODIES
    bodies = json.loads(REFUSED_BODIES.read_text())
    messages = f"{sim.api_base}/channels/{channel.id}/messages"
    known = (await (await http.post(messages, json={"content": "x"})).json())["id"]
    codes: dict[tuple[str, str], int] = {}

    async def send(method: str, url: str, label: str, body: Any) -> None:
        response = await http.request(method, url, json=body)
        answer = await response.json()
        codes[method, label] = answer["code"] if response.status == 400 else response.status
        assert answer.get("errors") or answer["code"] != 50035

    for label, body in bodies["messages"].items():
        for method, url in (("POST", messages), ("PATCH", f"{messages}/{known}")):
            await send(method, url, label, body)
    for label, body in bodies["messages_by_post_only"].items():
        await send("POST", messages, label, body)
    for label, body in bodies["commands"].items():
        await send("PUT", f"{sim.api_base}/applications/{sim.application_id}/commands", label, body)
    others = {label: code for (_, label), code in codes.items() if code != 50035}
    assert others == {"empty message": 50006, "unknown sticker": 50081}
    assert list(channel.messages) == [int(known)]
