"""What the bot tells a member alone, and the sentences of the English catalogue to compare it with."""

from typing import Any

from infra.discord.wording import say
from tests.suites.gateway import Discord


async def said(discord: Discord, interaction: Any) -> str:
    answer = await discord.simulator.answer(interaction)
    assert answer.ephemeral
    return str(answer.content)


def sentence(message: str, **values: Any) -> str:
    return say("en-US", message, **values)
