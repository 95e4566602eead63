"""An archive belongs to one bot: the token of another one in its settings must not make it look as if every guild had been left."""

from contracts.errors import MapSeekError, Unavailable
from contracts.ports import State
from contracts.state import Owner, amend
from contracts.subjects import owner_key


async def claim(state: State, bot_id: str) -> None:
    """Note which bot the archive belongs to, the first time. Raises MapSeekError for another one, and while the log is down."""
    try:
        owner = await amend(state, owner_key(), Owner, lambda known: known or Owner(bot_id=bot_id))
    except Unavailable as outage:
        raise MapSeekError(f"The {outage}: start it, or correct its setting.") from None
    if owner.bot_id != bot_id:
        raise MapSeekError(
            f"This archive belongs to the bot {owner.bot_id}, and DISCORD_TOKEN is that of {bot_id}: "
            "use the other token, or set MAPSEEK_DATA_DIR (or NATS_URL) to give this bot an archive of its own."
        )
