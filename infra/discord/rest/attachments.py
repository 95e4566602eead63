"""Fresh URLs for expired ones: the message is fetched again by REST, without a gateway login."""

from typing import Any

import disnake

from contracts.events import DiscordFile
from infra.discord.rest.login import RestLogin
from infra.discord.translate import embed_id, forwarded_id, images_of_embeds


class AttachmentUrls:
    """Asks Discord for the present URL of an archived image."""

    def __init__(self, rest: RestLogin) -> None:
        self._rest = rest

    async def fresh_url(self, file: DiscordFile) -> str | None:
        """The image's new signed URL; None when the message or the image in it is gone. Raises Retry for what may work later."""
        if file.channel_id is None or file.message_id is None or file.attachment_id is None:
            return None
        try:
            async with self._rest.asking("for a message whose file's URL has expired") as client:
                message = await client.get_message(int(file.channel_id), int(file.message_id))
        except (disnake.NotFound, disnake.Forbidden):
            return None
        return url_in(message, file.attachment_id)


def url_in(message: Any, image_id: str) -> str | None:
    """The URL that a message payload gives for an image that was posted in it, or forwarded by it."""
    message_id = message["id"]
    forwarded = [snapshot["message"] for snapshot in message.get("message_snapshots", ())]
    files = {attachment["id"]: attachment["url"] for attachment in message["attachments"]}
    files |= {forwarded_id(message_id, file["id"]): file["url"] for each in forwarded for file in each.get("attachments", ())}
    if image_id in files:
        return str(files[image_id])
    embeds = [embed for each in (message, *forwarded) for embed in each.get("embeds", ())]
    for image in images_of_embeds(disnake.Embed.from_dict(embed) for embed in embeds):
        if embed_id(message_id, image.position) == image_id:
            return image.url
    return None
