"""Fresh URLs for expired ones: the message is fetched again by REST, without a gateway login."""

import asyncio
from typing import Any, Self

import aiohttp
import disnake
from disnake.http import HTTPClient

from contracts.errors import Retry
from contracts.events import DiscordFile
from infra.discord.translate import embed_id, images_of_embeds


class AttachmentUrls:
    """Asks Discord for the present URL of an archived image. Logs in at first use; rate limits are waited for."""

    def __init__(self, token: str, *, timeout: float = 30) -> None:
        self._token = token
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

    async def fresh_url(self, file: DiscordFile) -> str | None:
        """The image's new signed URL; None when the message or the image in it is gone. Raises Retry for what may work later."""
        if file.channel_id is None or file.message_id is None or file.attachment_id is None:
            return None
        try:
            async with asyncio.timeout(self._timeout):
                client = await self._logged_in()
                message = await client.get_message(int(file.channel_id), int(file.message_id))
        except (disnake.NotFound, disnake.Forbidden):
            return None
        except disnake.LoginFailure as error:
            raise Retry("Discord refused the bot token, which is needed to refresh an expired URL") from error
        except disnake.HTTPException as error:
            raise Retry(f"Discord answered {error.status} when asked for a message") from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Retry(f"Discord did not answer when asked for a message: {type(error).__name__}") from error
        return url_in(message, file.attachment_id)

    async def _logged_in(self) -> HTTPClient:
        async with self._login:
            if self._client is None:
                client = HTTPClient(loop=asyncio.get_running_loop())
                try:
                    await client.static_login(self._token)
                except BaseException:
                    await client.close()
                    raise
                self._client = client
            return self._client


def url_in(message: Any, image_id: str) -> str | None:
    """The URL that a message payload gives for an attachment's id or an embed's `<message id>-<position>`."""
    for attachment in message["attachments"]:
        if attachment["id"] == image_id:
            return str(attachment["url"])
    for image in images_of_embeds(disnake.Embed.from_dict(embed) for embed in message["embeds"]):
        if embed_id(message["id"], image.position) == image_id:
            return image.url
    return None
