"""Rules for rows of buttons: rows that break one are refused, and rows at the limits are accepted."""

from typing import Any

import aiohttp
import pytest

from infra.sandbox.simulator import Channel, Interaction, Simulator
from tests.support.gateway import LINK_BUTTON, NEXT_BUTTON


def row(*buttons: dict[str, Any]) -> dict[str, Any]:
    return {"type": 1, "components": list(buttons)}


@pytest.mark.parametrize(
    ("components", "where"),
    [
        ([row(NEXT_BUTTON)] * 6, "components"),
        ([NEXT_BUTTON], "components.0.type"),
        ([row()], "components.0.components"),
        ([row(*[{**NEXT_BUTTON, "custom_id": str(n)} for n in range(6)])], "components.0.components"),
        ([row({"type": 3, "custom_id": "menu"})], "components.0.components.0.type"),
        ([row({**NEXT_BUTTON, "style": 7})], "components.0.components.0.style"),
        ([row({"type": 2, "style": 6})], "components.0.components.0.sku_id"),
        ([row({"type": 2, "style": 6, "sku_id": "1"})], "components.0.components.0.sku_id"),
        ([row({**NEXT_BUTTON, "id": -1})], "components.0.components.0.id"),
        ([row({**NEXT_BUTTON, "id": "1"})], "components.0.components.0.id"),
        ([{**row({**NEXT_BUTTON, "id": 7}), "id": 7}], "components.0.components.0.id"),
        ([{"type": 10, "content": "a"}], "components.0.type"),
        ([row({"type": 10, "content": "a"})], "components.0.components.0.type"),
        ([row({**NEXT_BUTTON, "label": "x" * 81})], "components.0.components.0.label"),
        ([row({**NEXT_BUTTON, "label": None})], "components.0.components.0"),
        ([row({**NEXT_BUTTON, "custom_id": None})], "components.0.components.0.custom_id"),
        ([row({**NEXT_BUTTON, "custom_id": "x" * 101})], "components.0.components.0.custom_id"),
        ([row({**NEXT_BUTTON, "disabled": "no"})], "components.0.components.0.disabled"),
        ([row(NEXT_BUTTON), row(NEXT_BUTTON)], "components.1.components.0.custom_id"),
        ([row({**NEXT_BUTTON, "url": LINK_BUTTON["url"]})], "components.0.components.0"),
        ([row({**NEXT_BUTTON, "custom_id": None, "url": LINK_BUTTON["url"]})], "components.0.components.0.url"),
        ([row({**LINK_BUTTON, "url": None})], "components.0.components.0.url"),
        ([row({**LINK_BUTTON, "url": "ftp://x"})], "components.0.components.0.url"),
        ([row({**LINK_BUTTON, "url": f"https://{'x' * 512}"})], "components.0.components.0.url"),
        ([row({**LINK_BUTTON, "url": None, "custom_id": "a"})], "components.0.components.0.custom_id"),
    ],
)
async def test_components_against_the_rules_are_refused(
    sim: Simulator, interaction: Interaction, http: aiohttp.ClientSession, components: Any, where: str
) -> None:
    url = f"{sim.api_base}/webhooks/{sim.application_id}/{interaction.token}/messages/@original"
    response = await http.patch(url, json={"content": "x", "components": components})
    error = await response.json()
    assert (response.status, error["code"]) == (400, 50035)
    errors = error["errors"]
    for key in where.split("."):
        errors = errors[key]
    assert errors["_errors"][0]["code"]


TEXT = {"type": 10, "content": "a"}
MEDIA = {"url": "https://example.org/a.png"}
THUMBNAIL = {"type": 11, "media": MEDIA}


@pytest.mark.parametrize(
    ("components", "where"),
    [
        ([TEXT] * 41, "components"),
        ([{"type": 17, "components": [TEXT] * 20}, {"type": 17, "components": [TEXT] * 20}], "components"),
        ([{**TEXT, "content": "x" * 4001}], "components.0.content"),
        ([{**TEXT, "content": "x" * 2001}] * 2, "components"),
        ([{**TEXT, "content": ""}], "components.0.content"),
        ([NEXT_BUTTON], "components.0.type"),
        ([THUMBNAIL], "components.0.type"),
        ([{"type": 99}], "components.0.type"),
        ([{"type": 9, "components": [TEXT]}], "components.0.accessory"),
        ([{"type": 9, "components": [], "accessory": THUMBNAIL}], "components.0.components"),
        ([{"type": 9, "components": [TEXT] * 4, "accessory": THUMBNAIL}], "components.0.components"),
        ([{"type": 9, "components": [THUMBNAIL], "accessory": THUMBNAIL}], "components.0.components.0.type"),
        ([{"type": 9, "components": [TEXT], "accessory": TEXT}], "components.0.accessory.type"),
        ([{"type": 9, "components": [TEXT], "accessory": {"type": 11, "media": {}}}], "components.0.accessory.media.url"),
        ([{"type": 12, "items": []}], "components.0.items"),
        ([{"type": 12, "items": [{"media": MEDIA}] * 11}], "components.0.items"),
        ([{"type": 12, "items": [{"media": {"url": "ftp://x.org/a.png"}}]}], "components.0.items.0.media.url"),
        ([{"type": 12, "items": [{"media": MEDIA, "spoiler": "yes"}]}], "components.0.items.0.spoiler"),
        ([{"type": 12, "items": [{"media": MEDIA, "description": "x" * 1025}]}], "components.0.items.0.description"),
        ([{"type": 12, "items": [{"media": {"url": "attachment://absent.png"}}]}], "components"),
        ([{"type": 13, "file": MEDIA}], "components.0.file.url"),
        ([{"type": 13}], "components.0.file.url"),
        ([{"type": 14, "spacing": 3}], "components.0.spacing"),
        ([{"type": 14, "divider": 1}], "components.0.divider"),
        ([{"type": 17, "components": []}], "components.0.components"),
        ([{"type": 17, "components": [{"type": 17, "components": [TEXT]}]}], "components.0.components.0.type"),
        ([{"type": 17, "components": [TEXT], "accent_color": 1 << 24}], "components.0.accent_color"),
        ([{**TEXT, "id": 3}, {"type": 17, "components": [{**TEXT, "id": 3}]}], "components.1.components.0.id"),
        ([row(NEXT_BUTTON), {"type": 9, "components": [TEXT], "accessory": NEXT_BUTTON}], "components.1.accessory.custom_id"),
    ],
)
async def test_components_of_version_2_against_the_rules_are_refused(
    sim: Simulator, channel: Channel, http: aiohttp.ClientSession, components: Any, where: str
) -> None:
    body = {"flags": 1 << 15, "components": components}
    response = await http.post(f"{sim.api_base}/channels/{channel.id}/messages", json=body)
    error = await response.json()
    assert (response.status, error["code"]) == (400, 50035)
    errors = error["errors"]
    for key in where.split("."):
        errors = errors[key]
    assert errors["_errors"][0]["code"]
    assert not channel.messages


async def test_components_at_the_limits_are_accepted(sim: Simulator, interaction: Interaction, http: aiohttp.ClientSession) -> None:
    rows = [row(*[{**NEXT_BUTTON, "label": "x" * 80, "custom_id": f"{r}{n}".ljust(100)} for n in range(5)]) for r in range(5)]
    rows[0]["components"][0] |= {"label": "", "emoji": {"name": "🗺️"}}
    url = f"{sim.api_base}/webhooks/{sim.application_id}/{interaction.token}/messages/@original"
    assert (await http.patch(url, json={"content": "x", "components": rows})).status == 200
    buttons = (await sim.answer(interaction)).buttons
    assert (len(buttons), buttons["00".ljust(100)].emoji) == (25, "🗺️")
