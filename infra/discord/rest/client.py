"""Discord's REST API with the bot's token, without a gateway, and fresh URLs for archived images."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Self

import aiohttp
import disnake
from disnake.http import HTTPClient

from contracts.errors import Retry
from contracts.events import DiscordFile
from infra.discord.pictures import UnreadableMessage, find_picture, list_pictures
from infra.discord.rest.rate_limit import RequestBudget, limit_client


class RestClient:
    """One client for all requests of a process to Discord, logged in at first use.

    Rate limits are waited for, at most `timeout` seconds. Without a `budget` the requests are not counted together with other
    processes.
    """

    def __init__(self, token: str, budget: RequestBudget | None = None, *, timeout: float = 30) -> None:
        self._token = token
        self._budget = budget
        self._timeout = timeout
        self._client: HTTPClient | None = None
        self._login = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()
            self._client = None

    @asynccontextmanager
    async def client_for(self, purpose: str) -> AsyncIterator[HTTPClient]:
        """Yield the client for a purpose, which error messages name.

        NotFound and Forbidden pass through. Raises Retry for an error that may pass.
        """
        try:
            async with asyncio.timeout(self._timeout):
                yield await self._logged_in()
        except (disnake.NotFound, disnake.Forbidden, Retry):
            raise
        except disnake.LoginFailure as error:
            raise Retry(f"Discord refused the bot token, which is needed {purpose}") from error
        except disnake.HTTPException as error:
            raise Retry(f"Discord answered {error.status} when asked {purpose}") from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Retry(f"Discord did not answer when asked {purpose}: {type(error).__name__}") from error

    async def _logged_in(self) -> HTTPClient:
        async with self._login:
            if self._client is None:
                client = HTTPClient(loop=asyncio.get_running_loop())
                try:
                    await client.static_login(self._token)
                except BaseException:
                    await client.close()
                    raise
                if self._budget is not None:
                    limit_client(client, self._budget)
                self._client = client
            return self._client


class AttachmentUrls:
    """Fetches fresh URLs of archived images, whose signed URLs expire."""

    def __init__(self, rest: RestClient) -> None:
        self._rest = rest

    async def fresh_url(self, file: DiscordFile) -> str | None:
        """Return the image's new signed URL; None if the message or its image is gone. Raises Retry for an error that may pass."""
        if file.channel_id is None or file.message_id is None or file.attachment_id is None:
            return None
        try:
            async with self._rest.client_for("for a message whose file's URL has expired") as client:
                message: Any = await client.get_message(int(file.channel_id), int(file.message_id))
        except (disnake.NotFound, disnake.Forbidden):
            return None
        try:
            picture = find_picture(list_pictures(message), file.attachment_id, file.url)
        except UnreadableMessage as error:
            raise Retry(f"the message of a picture cannot be read: {error}") from error
        return None if picture is None else picture.url
