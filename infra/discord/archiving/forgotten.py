"""Who asked that their earlier posts stay out: at hand without waiting, since every post is checked."""

from datetime import datetime

from contracts.ports import State
from contracts.state import Forgotten, amend
from contracts.subjects import FORGOTTEN, forgotten_key


class Forgetting:
    """Loaded once, then kept in step with what is stored: this process alone writes it."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._until: dict[tuple[str, str], datetime] = {}

    async def load(self) -> None:
        """Read whom every guild has forgotten. Raises Unavailable."""
        stored = await self._state.under(FORGOTTEN)
        for key, value in stored.items():
            _, guild_id, person_id = key.split(".")
            self._until[guild_id, person_id] = Forgotten.model_validate_json(value).until

    def covers(self, guild_id: int | str, author_id: int | str, posted_at: datetime) -> bool:
        """Whether a post is from before the moment up to which its author wants to be forgotten."""
        until = self._until.get((str(guild_id), str(author_id)))
        return until is not None and posted_at <= until

    async def forget(self, guild_id: int | str, person_id: int | str, until: datetime) -> None:
        """Keep a person's posts up to a moment out from now on; a known later moment stays. Raises Unavailable."""

        def later(stored: Forgotten | None) -> Forgotten:
            return Forgotten(until=until if stored is None else max(until, stored.until))

        changed = await amend(self._state, forgotten_key(str(guild_id), str(person_id)), Forgotten, later)
        self._until[str(guild_id), str(person_id)] = changed.until
