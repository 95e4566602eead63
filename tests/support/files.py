"""Image files for tests: one of each accepted format, PNGs that Pillow cannot write, and a server that delivers files."""

import io
import socket
import stat
import struct
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from itertools import count
from pathlib import Path

import numpy as np
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from numpy.typing import NDArray
from PIL import Image

from contracts.events import DiscordFile
from stages.canonical_image import decode_image

Behaviour = Callable[[web.Request], Awaitable[web.StreamResponse]]


def list_open_paths(folder: Path) -> list[str]:
    """Return the folder and what is below it on which other users than its owner have a right, with its mode."""
    found = []
    for path in (folder, *folder.rglob("*")):
        with suppress(FileNotFoundError):  # a temporary file
            mode = path.lstat().st_mode
            if not stat.S_ISLNK(mode) and mode & 0o077:
                found.append(f"{stat.filemode(mode)} {path}")
    return found


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def raw_png(width: int, height: int, bits: int, colour_type: int, rows: bytes, *extra: bytes) -> bytes:
    """Build a PNG that Pillow cannot write. Each of `rows` starts with its filter byte; `extra` chunks precede the pixels."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(extra) + png_chunk(b"IDAT", zlib.compress(rows)) + png_chunk(b"IEND", b"")


def encode_image(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def noise_pixels(width: int = 60, height: int = 40) -> NDArray[np.uint8]:
    return np.random.default_rng(7).integers(0, 256, (height, width, 3), dtype=np.uint8)


def as_ycck(cmyk: bytes) -> bytes:
    """Return a CMYK JPEG as YCCK. Its samples (stored inverted) are changed so that Y, Cb, Cr mean the grey of C, M, Y."""
    image = Image.open(io.BytesIO(cmyk))
    cyan, _, _, key = image.split()
    # Stored samples are 255 - ink. libjpeg turns Y into R = G = B where Cb = Cr = 128, and takes ink = 255 - R.
    middle = Image.new("L", image.size, 255 - 128)
    stored = Image.merge("CMYK", (Image.eval(cyan, lambda ink: 255 - ink), middle, middle, key))
    data = encode_image(stored, "JPEG", quality=100)
    start = data.index(b"\xff\xee")
    transform = start + 2 + 2 + 5 + 2 + 2 + 2
    return data[:transform] + b"\x02" + data[transform + 1 :]


IMAGE_FILES = {
    "png": encode_image(Image.fromarray(noise_pixels()), "PNG"),
    "apng": encode_image(Image.fromarray(noise_pixels()), "PNG", save_all=True, append_images=[Image.new("RGB", (60, 40), "red")]),
    "jpeg": encode_image(Image.fromarray(noise_pixels()), "JPEG"),
    "progressive": encode_image(Image.fromarray(noise_pixels()), "JPEG", progressive=True),
    "webp": encode_image(Image.fromarray(noise_pixels()), "WEBP"),
    "lossless": encode_image(Image.fromarray(noise_pixels()), "WEBP", lossless=True),
    "gif": encode_image(Image.fromarray(noise_pixels()), "GIF"),
    "bmp": encode_image(Image.fromarray(noise_pixels()), "BMP"),
}
"""One file of each format by name. All contain `noise_pixels()`."""


def decode_mirrored(data: bytes, max_pixels: int, longest: int | None = None) -> tuple[Image.Image, str]:
    """Decode a picture mirrored, as another version of the preprocessing might."""
    image, kind = decode_image(data, max_pixels, longest)
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT), kind


class FakeCdn:
    """A server with a behaviour for each path. `asked` counts the requests for each path."""

    def __init__(self) -> None:
        self.asked: dict[str, int] = {}
        self.origin = ""
        self.behaviours: dict[str, Behaviour] = {}

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked[request.path] = self.asked.get(request.path, 0) + 1
        return await self.behaviours[request.path](request)

    def at(self, path: str, *answers: web.StreamResponse | Behaviour) -> DiscordFile:
        """Set the responses of a path: they are given in order, and the last one is repeated."""
        turn = count()

        async def behave(request: web.Request) -> web.StreamResponse:
            answer = answers[min(next(turn), len(answers) - 1)]
            if not isinstance(answer, web.Response):
                return await answer(request)  # type: ignore[operator]
            return web.Response(status=answer.status, headers=answer.headers, body=answer.body)

        self.behaviours[path] = behave
        return self.file(path)

    def file(self, path: str) -> DiscordFile:
        return DiscordFile(url=self.origin + path, channel_id="1", message_id="2", attachment_id="3")


@asynccontextmanager
async def run_cdn() -> AsyncIterator[FakeCdn]:
    cdn = FakeCdn()
    app = web.Application()
    app.router.add_route("GET", "/{path:.*}", cdn.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    cdn.origin = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield cdn
    finally:
        await runner.cleanup()


class FakeResolver(AbstractResolver):
    """A DNS resolver with fixed answers: name to address, and the port to use (None: the requested port)."""

    def __init__(self, answers: Mapping[str, tuple[str, int | None]] | None = None) -> None:
        self.answers = answers or {}
        self.asked: list[str] = []

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET) -> list[ResolveResult]:
        self.asked.append(host)
        if host not in self.answers:
            raise OSError(None, "no such name")
        address, instead = self.answers[host]
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        return [ResolveResult(hostname=host, host=address, port=instead or port, family=family, proto=0, flags=0)]

    async def close(self) -> None:
        pass
