"""Messages that Discord would refuse are refused, with its codes."""

from typing import Any

import aiohttp
import disnake
import pytest

from infra.sandbox.simulator import Interaction, Simulator
from tests.support.gateway import new_file, webhook

LONG = "x" * 5000


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({"content": LONG[:2001]}, "content"),
        ({"embeds": [{"title": "x"}] * 11}, "embeds"),
        ({"embeds": [{"title": LONG[:257]}]}, "embeds.0.title"),
        ({"embeds": [{"description": LONG[:4097]}]}, "embeds.0.description"),
        ({"embeds": [{"footer": {"text": LONG[:2049]}}]}, "embeds.0.footer.text"),
        ({"embeds": [{"author": {"name": LONG[:257]}}]}, "embeds.0.author.name"),
        ({"embeds": [{"fields": [{"name": "n", "value": "v"}] * 26}]}, "embeds.0.fields"),
        ({"embeds": [{"fields": [{"name": LONG[:257], "value": "v"}]}]}, "embeds.0.fields.0.name"),
        ({"embeds": [{"fields": [{"name": "n", "value": LONG[:1025]}]}]}, "embeds.0.fields.0.value"),
        ({"embeds": [{"fields": [{"name": "n", "value": ""}]}]}, "embeds.0.fields.0.value"),
        ({"embeds": [{"description": LONG[:3001]}, {"description": LONG[:3000]}]}, "embeds"),
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
    sim: Simulator, asked: Interaction, http: aiohttp.ClientSession, body: Any, where: str
) -> None:
    url = f"{sim.api_base}/webhooks/{sim.application_id}/{asked.token}/messages/@original"
    response = await http.patch(url, json=body)
    error = await response.json()
    assert (response.status, error["code"]) == (400, 50035)
    errors = error["errors"]
    for key in where.split("."):
        errors = errors[key]
    assert errors["_errors"][0]["code"]
    assert asked.edits == 0


async def test_a_message_at_the_limits_is_taken(sim: Simulator, asked: Interaction, http: aiohttp.ClientSession) -> None:
    embeds = [disnake.Embed(title=LONG[:256], description=LONG[:4096]), disnake.Embed(description=LONG[:1648])]
    await webhook(sim, http, asked.token).edit_message(
        "@original", content=LONG[:2000], embeds=embeds + [disnake.Embed(color=1)] * 8
    )
    assert len((await sim.answer(asked)).embeds) == 10


async def test_bodies_that_discord_does_not_take(sim: Simulator, asked: Interaction, http: aiohttp.ClientSession) -> None:
    url = f"{sim.api_base}/webhooks/{sim.application_id}/{asked.token}/messages/@original"
    bodies: list[tuple[dict[str, Any], int, int]] = [
        ({"data": b"{", "headers": {"Content-Type": "application/json"}}, 400, 50109),
        ({"data": b"{}"}, 400, 50035),
        ({"json": {}}, 400, 50006),
        ({"json": []}, 400, 50035),
    ]
    for options, status, code in bodies:
        response = await http.patch(url, **options)
        assert (response.status, (await response.json())["code"]) == (status, code)
    hook = webhook(sim, http, asked.token)
    with pytest.raises(disnake.HTTPException) as many:
        await hook.edit_message("@original", files=[new_file(f"{number}.png") for number in range(11)])
    assert many.value.code == 50035
    with pytest.raises(disnake.HTTPException) as large:
        await hook.edit_message("@original", file=new_file(data=bytes(10 * 1024 * 1024 + 1)))
    assert (large.value.status, large.value.code) == (413, 40005)
