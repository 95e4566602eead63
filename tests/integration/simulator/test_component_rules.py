"""Rules for rows of buttons: rows that break one are refused, and rows at the limits are accepted."""

from typing import Any

import aiohttp
import pytest

from infra.sandbox.simulator import Interaction, Simulator
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
        ([row({**NEXT_BUTTON, "style": 6})], "components.0.components.0.style"),
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


async def test_components_at_the_limits_are_accepted(sim: Simulator, interaction: Interaction, http: aiohttp.ClientSession) -> None:
    rows = [row(*[{**NEXT_BUTTON, "label": "x" * 80, "custom_id": f"{r}{n}".ljust(100)} for n in range(5)]) for r in range(5)]
    rows[0]["components"][0] |= {"label": "", "emoji": {"name": "🗺️"}}
    url = f"{sim.api_base}/webhooks/{sim.application_id}/{interaction.token}/messages/@original"
    assert (await http.patch(url, json={"content": "x", "components": rows})).status == 200
    buttons = (await sim.answer(interaction)).buttons
    assert (len(buttons), buttons["00".ljust(100)].emoji) == (25, "🗺️")
