"""Which Discord is spoken to: the real one, or a local simulator."""

import logging
from dataclasses import dataclass

from disnake import VoiceClient
from disnake.http import Route


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An API base and the waits that go with it, in seconds: for guilds before ready, and before identifying anew."""

    api_base: str = "https://discord.com/api/v10"
    guild_ready_timeout: float = 2.0
    identify_delay: float = 5.0

    def use(self) -> None:
        """Point every disnake client of this process there.

        Keeps out of the log tokens, which disnake logs at level DEBUG, and its warning that libraries for voice are missing.
        """
        Route.BASE = self.api_base.rstrip("/")
        VoiceClient.warn_nacl = VoiceClient.warn_dave = False
        logger = logging.getLogger("disnake")
        logger.setLevel(max(logger.level, logging.INFO))


DISCORD = Endpoint()


def simulated(api_base: str) -> Endpoint:
    """A simulator at this API base, which needs no patience."""
    return Endpoint(api_base=api_base, guild_ready_timeout=0.05, identify_delay=0)
