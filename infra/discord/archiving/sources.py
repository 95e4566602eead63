"""What a back-fill reads: the channels and threads that a channel, a forum or a category has, and their messages."""

from typing import Any

import aiohttp
import disnake
from disnake.ext import commands

from contracts.errors import Retry
from infra.discord.archiving.backfill import Page
from infra.discord.archiving.history import PAGE, WITH_THREADS, Unreadable, archived_threads, may_read, page_after
from infra.discord.archiving.intake import WITH_MESSAGES, Intake


async def sources_of(channel: Any) -> tuple[list[str], list[str]]:
    """The ids of what the bot may read there, and of what it may not. Raises disnake's errors."""
    readable: list[str] = []
    unreadable: list[str] = []
    for each in channel.channels if isinstance(channel, disnake.CategoryChannel) else [channel]:
        if not may_read(each):
            unreadable.append(str(each.id))
            continue
        if isinstance(each, WITH_MESSAGES):
            readable.append(str(each.id))
        if isinstance(each, WITH_THREADS):
            threads = {thread.id for thread in each.guild.threads if thread.parent_id == each.id}
            threads |= {thread.id async for thread in archived_threads(each)}
            readable += [str(thread_id) for thread_id in sorted(threads)]
    return readable, unreadable


class GuildHistory:
    """The Past port: a guild's channels through the bot's client."""

    def __init__(self, bot: commands.InteractionBot, intake: Intake) -> None:
        self._bot = bot
        self._intake = intake
        self._archived: dict[str, Any] = {}

    async def page(self, channel_id: str, after: int, until: int) -> Page:
        """The messages after an id and up to another; a channel that is gone has none. Raises Unreadable, Retry."""
        try:
            channel = await self._channel(channel_id)
            found = await page_after(channel, after)
        except disnake.NotFound:
            return Page(0, None, (), more=False)
        except (disnake.Forbidden, disnake.InvalidData) as error:
            raise Unreadable from error
        except (disnake.HTTPException, aiohttp.ClientError, OSError, TimeoutError) as error:
            raise Retry(f"Discord did not show a channel's history: {error}") from error
        wanted = [message for message in found if message.id <= until]
        posts = [post for message in wanted for post in self._intake.images(message)]
        return Page(len(wanted), wanted[-1].id if wanted else None, posts, more=len(wanted) == PAGE)

    async def _channel(self, channel_id: str) -> Any:
        """A channel or thread; archived threads are not known to the client, so they are asked for once."""
        known = self._bot.get_channel(int(channel_id)) or self._archived.get(channel_id)
        if known is None:
            known = self._archived[channel_id] = await self._bot.fetch_channel(int(channel_id))
        return known
