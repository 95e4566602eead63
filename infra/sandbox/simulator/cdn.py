"""The CDN: files with signed URLs that expire, as on Discord (`?ex=<expires>&is=<issued>&hm=<signature>`, hexadecimal)."""

import hmac
import mimetypes
import re
import secrets
import warnings
from datetime import timedelta
from io import BytesIO
from pathlib import PurePosixPath

from aiohttp import web
from PIL import Image

from infra.sandbox.simulator.model import SPOILER_PREFIX, Attachment, Clock

URL_LIFETIME = timedelta(hours=24)
GONE_TEXT = "This content is no longer available."


class Cdn:
    """Keeps the bytes of every upload, and serves them for a valid URL."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.origin = ""
        self._files: dict[str, Attachment] = {}
        self._key = secrets.token_bytes(32)
        self._expired_status = 404

    def store(self, file_id: int, folder: str, name: str, data: bytes) -> Attachment:
        """Store an upload at `/<folder>/<id>/<file name>`, with the file name cleaned as on Discord."""
        filename = clean_filename(name)
        width, height = _dimensions(data)
        attachment = Attachment(
            id=file_id,
            path=f"/{folder}/{file_id}/{filename}",
            filename=filename,
            data=data,
            content_type=mimetypes.guess_type(filename)[0],
            width=width,
            height=height,
            url="",
            title=PurePosixPath(name).stem if filename != name else None,
            ephemeral=folder.startswith("ephemeral-"),
            spoiler=filename.startswith(SPOILER_PREFIX),
        )
        attachment.url = self.sign(attachment)
        self._files[attachment.path] = attachment
        return attachment

    def discard(self, attachment: Attachment) -> None:
        """Delete a file. Every URL of it responds with 404."""
        self._files.pop(attachment.path, None)

    def sign(self, attachment: Attachment) -> str:
        """Return a URL for the file that is valid for a day from now."""
        issued = int(self.clock().timestamp())
        expires, since = f"{issued + int(URL_LIFETIME.total_seconds()):x}", f"{issued:x}"
        signature = self._signature(attachment.path, expires, since)
        return f"{self.origin}{attachment.path}?ex={expires}&is={since}&hm={signature}&"

    def expire_urls(self, status: int) -> None:
        """Make every URL issued so far respond with this status."""
        self._key = secrets.token_bytes(32)
        self._expired_status = status

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Respond to a GET of a file."""
        file = self._files.get(request.path)
        if file is None:
            return web.Response(status=404, text=GONE_TEXT)
        expires, since, signature = (request.query.get(key, "") for key in ("ex", "is", "hm"))
        valid = hmac.compare_digest(signature.encode(), self._signature(file.path, expires, since).encode())
        if not valid or int(expires, 16) <= self.clock().timestamp():
            return web.Response(status=self._expired_status, text=GONE_TEXT)
        return web.Response(body=file.data, content_type=file.content_type or "application/octet-stream")

    def _signature(self, path: str, expires: str, since: str) -> str:
        return hmac.new(self._key, f"{path}?{expires}&{since}".encode(), "sha256").hexdigest()


def clean_filename(name: str) -> str:
    """Clean a file name as Discord does: blanks become underscores, and other unusual characters are removed."""
    return re.sub(r"[^A-Za-z0-9_.\-]", "", name.replace(" ", "_")).lstrip(".") or "unknown"


def _dimensions(data: bytes) -> tuple[int | None, int | None]:
    """Read width and height from the header of a picture, as Discord does. (None, None) if it is no picture."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(BytesIO(data)) as image:
                return image.size
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None, None
