"""The settings of every guild, at hand without waiting: this process alone changes them."""

from collections.abc import Callable

from contracts.ports import State
from contracts.state import GuildSettings, amend
from contracts.subjects import SETTINGS, settings_key


class Guilds:
    """Loaded once, then kept in step with what is stored."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._settings: dict[str, GuildSettings] = {}

    async def load(self) -> None:
        """Read the settings of every guild. Raises Unavailable."""
        stored = await self._state.under(SETTINGS)
        self._settings = {key.rpartition(".")[2]: GuildSettings.model_validate_json(value) for key, value in stored.items()}

    def of(self, guild_id: int | str) -> GuildSettings:
        """A guild's settings, the defaults where none were made."""
        return self._settings.get(str(guild_id), GuildSettings())

    async def change(self, guild_id: int | str, change: Callable[[GuildSettings], GuildSettings]) -> GuildSettings:
        """Store what `change` makes of a guild's settings. Raises Unavailable."""
        changed = await amend(
            self._state, settings_key(str(guild_id)), GuildSettings, lambda stored: change(stored or GuildSettings())
        )
        self._settings[str(guild_id)] = changed
        return changed
