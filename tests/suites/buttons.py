"""A bot that answers presses as the custom id of the button says, and answers with such buttons."""

from typing import Any

import aiohttp
import disnake
from disnake.ext import commands

from infra.sandbox.simulator import Interaction, Message, Simulator
from tests.suites.discord_client import shown

NEXT = {"type": 2, "style": 1, "label": "Next", "custom_id": "turn:2"}
BACK = {"type": 2, "style": 2, "label": "Previous", "custom_id": "turn:1", "disabled": True}
LINK = {"type": 2, "style": 5, "label": "Open", "url": "https://discord.com/channels/1/2/3"}


class Turning(commands.Cog):
    """Answers a press as its custom id says."""

    @commands.Cog.listener()
    async def on_button_click(self, inter: disnake.MessageInteraction) -> None:
        match inter.component.custom_id.split(":"):
            case ["turn", _]:
                await inter.response.edit_message(f"page 2 for {inter.author.display_name}", components=[])
            case ["later", _]:
                await inter.response.defer()
                await inter.edit_original_response("changed later", file=shown())
            case ["copy", _]:
                await inter.response.send_message(
                    "your copy", ephemeral=True, components=[disnake.ui.Button(custom_id="turn:9", label="On")]
                )
            case ["think", _]:
                await inter.response.defer(with_message=True, ephemeral=True)
                await inter.followup.send("thought")
                await inter.followup.send("aloud")
            case ["vote", _]:
                await inter.response.defer()
                await inter.followup.send("thank you", ephemeral=True)
            case ["drop", _]:
                await inter.response.defer()
                await inter.delete_original_response()


async def answered(sim: Simulator, asked: Interaction, http: aiohttp.ClientSession, *buttons: dict[str, Any]) -> Message:
    """The visible answer to the question, with buttons in one row."""
    url = f"{sim.api_base}/webhooks/{sim.application_id}/{asked.token}/messages/@original"
    response = await http.patch(url, json={"content": "page 1", "components": [{"type": 1, "components": list(buttons)}]})
    assert response.status == 200
    return (await sim.answer(asked)).message


def button(kind: str) -> dict[str, Any]:
    return {"type": 2, "style": 3, "label": kind.title(), "custom_id": f"{kind}:1"}
