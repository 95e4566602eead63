"""`mapseek sync`: one channel's past is brought into the log as if the bot had heard all of it."""

from rich.console import Console

from contracts.errors import MapSeekError
from infra.discord.rest.compare import record
from infra.nats.reader import LogPosts
from pipeline.audit.discord import compare_discord, guild_with
from pipeline.audit.posted import read_posted
from pipeline.clock import utc_now
from pipeline.commands.looking import looking
from pipeline.settings import Settings, require_token


async def sync_channel(settings: Settings, channel: str, out: Console, err: Console) -> int:
    """Record what Discord has and the log has not, and the removal of what the log has and Discord has not."""
    require_token(settings)
    async with looking(settings) as look:
        new = gone = asked = 0
        if look.rest is None:
            raise MapSeekError("DISCORD_TOKEN is not set.")
        with err.status(f"reading channel {channel} ..."):
            posted = await read_posted(look.client)
            guild = await guild_with(look.rest, posted, channel)
            found = compare_discord(look.rest, look.state, settings.channels, posted, utc_now, guild=guild, channel=channel)
            posts = LogPosts(look.client)
            async for difference in found:
                if difference.unreadable:
                    raise MapSeekError(f"The bot may not read channel {channel}: grant it Read Message History there.")
                recorded, removed = await record(difference, look.journal, posts, utc_now)
                new, gone, asked = new + recorded, gone + removed, asked + len(difference.gone) - removed
    out.print(f"Channel {channel}: {new} images recorded, the removal of {gone} requested.", highlight=False)
    if asked:
        out.print(f"The removal of {asked} was requested before: `mapseek audit` says if that led to nothing.", highlight=False)
    return 0
