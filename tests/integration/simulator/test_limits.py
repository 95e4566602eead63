"""Limits of messages: what Discord would refuse is refused, with Discord's error codes."""

from typing import Any

import aiohttp
import disnake
import pytest

from infra.sandbox.simulator import Interaction, Simulator
from tests.support.gateway import new_file, webhook

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
