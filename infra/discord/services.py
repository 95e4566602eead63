"""What the gateway's cogs work with: our ports, and what they share in this process."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime

from contracts.events import AlertSet, SearchAnswered
from contracts.ports import Alerts, Journal, OverviewReader, Posts, StateStore, UnreadableMessages
from contracts.state import GuildSettings, update_document
from contracts.subjects import SETTINGS, settings_key
from infra.discord.archive.marks import ForgottenMembers, HighWaterMarks, RecentChanges
from infra.discord.ask.quotas import Quotas
from infra.discord.recorder import Recorder


class GuildSettingsStore:
    """The settings of every guild in memory, loaded once. Only this process changes them."""

    def __init__(self, state: StateStore) -> None:
        self._state = state
        self._settings: dict[str, GuildSettings] = {}

    async def load(self) -> None:
        """Read the settings of every guild. Raises Unavailable."""
        stored = await self._state.list_under(SETTINGS)
        self._settings = {key.rpartition(".")[2]: GuildSettings.model_validate_json(value) for key, value in stored.items()}

    def get(self, guild_id: int | str) -> GuildSettings:
        """Return a guild's settings, the defaults if none are stored."""
        return self._settings.get(str(guild_id), GuildSettings())

    async def change(self, guild_id: int | str, change: Callable[[GuildSettings], GuildSettings]) -> GuildSettings:
        """Store the result of `change` as a guild's settings and return it. Raises Unavailable."""
        changed = await update_document(
            self._state, settings_key(str(guild_id)), GuildSettings, lambda stored: change(stored or GuildSettings())
        )
        self._settings[str(guild_id)] = changed
        return changed


@dataclass(frozen=True, slots=True)
class GatewayPorts:
    """The ports that the composition root gives to the gateway.

    `follow_answers` yields every search that is answered from now on, for any member. `alert_thumbnail` returns the picture of an
    alert as a small WebP, or None if the picture is gone. It raises Unavailable.
    """

    journal: Journal
    state: StateStore
    posts: Posts
    alerts: Alerts
    overviews: OverviewReader
    now: Callable[[], datetime]
    follow_answers: Callable[[], AsyncIterator[SearchAnswered]]
    alert_thumbnail: Callable[[AlertSet], Awaitable[bytes | None]]
    unreadable_messages: UnreadableMessages


@dataclass(frozen=True, slots=True)
class Services:
    """What all cogs share in this process.

    `watched` are the channels and categories that the owner of the installation named; None, or `all` among them, means every
    channel. `cdn_origins` are trusted for pictures, besides Discord's own.
    """

    ports: GatewayPorts
    recorder: Recorder
    guilds: GuildSettingsStore
    watched: frozenset[str] | None
    forgotten_members: ForgottenMembers
    marks: HighWaterMarks
    recent_changes: RecentChanges
    quotas: Quotas = field(default_factory=Quotas)
    cdn_origins: frozenset[str] = frozenset()
