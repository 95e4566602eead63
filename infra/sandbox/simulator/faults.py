"""Injected faults: wrong responses of the REST API or the CDN to the next requests."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Protocol

import orjson
from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

CDN_PATHS = "/*attachments/*"
REST_PATHS = "/api/v10/*"
"""Patterns for all paths of the CDN, and of the REST API."""


class Fault(Protocol):
    """A wrong response."""

    async def answer(self, request: web.Request, handler: Handler, /) -> web.StreamResponse:
        """Respond to the request in place of the handler, which gives the right response."""
        ...


@dataclass(frozen=True, slots=True)
class Status:
    """A response with another status. `retry_after` (seconds) belongs to 429: it is in a header and, for REST, in the body too.

    `code` is Discord's own error code, in the body of a REST response.
    """

    status: int
    retry_after: float | None = None
    code: int = 0

    async def answer(self, request: web.Request, _: Handler) -> web.StreamResponse:
        headers = {"Via": "1.1 simulator"}
        if self.retry_after is not None:
            headers["Retry-After"] = f"{self.retry_after:g}"
        if not request.path.startswith("/api/"):
            return web.Response(status=self.status, headers=headers, text=f"fault injected: {self.status}")
        body: dict[str, object] = {"message": f"{self.status}: fault injected", "code": self.code}
        if self.status == 429:
            body = {"message": "You are being rate limited.", "retry_after": self.retry_after or 0.0, "global": False}
        headers["Content-Type"] = "application/json"
        return web.Response(status=self.status, headers=headers, body=orjson.dumps(body))


@dataclass(frozen=True, slots=True)
class Redirect:
    """A redirect to a URL."""

    url: str
    status: int = 302

    async def answer(self, _request: web.Request, _handler: Handler) -> web.StreamResponse:
        return web.Response(status=self.status, headers={"Location": self.url})


@dataclass(frozen=True, slots=True)
class Drip:
    """The right body, sent `chunk` bytes at a time, `interval` seconds apart."""

    chunk: int = 1
    interval: float = 0.05

    async def answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        body = await _body(request, handler)
        response = web.StreamResponse()
        response.content_length = len(body)
        await response.prepare(request)
        for start in range(0, len(body), self.chunk):
            await response.write(body[start : start + self.chunk])
            await asyncio.sleep(self.interval)
        return response


@dataclass(frozen=True, slots=True)
class Stall:
    """Half of the body, then nothing for as long as the client waits."""

    async def answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        body = await _body(request, handler)
        response = web.StreamResponse()
        response.content_length = len(body)
        await response.prepare(request)
        await response.write(body[: len(body) // 2])
        await asyncio.Event().wait()
        return response


@dataclass(frozen=True, slots=True)
class Endless:
    """The body, then zero bytes for as long as the client reads. There is no Content-Length."""

    chunk: int = 64 * 1024

    async def answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        body = await _body(request, handler)
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(body)
        while True:
            await response.write(bytes(self.chunk))


@dataclass(frozen=True, slots=True)
class WrongLength:
    """A wrong Content-Length: a smaller `length` cuts the body off, a larger one is never reached."""

    length: int

    async def answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        body = await _body(request, handler)
        transport = request.transport
        if transport is not None:
            transport.write(f"HTTP/1.1 200 OK\r\nContent-Length: {self.length}\r\n\r\n".encode() + body[: self.length])
            transport.close()
        return web.Response(body=body)


@dataclass(slots=True)
class _Armed:
    fault: Fault
    path: str
    method: str | None
    left: int | None


@dataclass(slots=True)
class Faults:
    """The faults that are set for the next requests."""

    _armed: list[_Armed] = field(default_factory=list)

    def add(self, fault: Fault, path: str, *, method: str | None = None, times: int | None = 1) -> None:
        """Apply a fault to the next `times` requests (None: all) whose path matches the shell pattern.

        Earlier faults come first.
        """
        self._armed.append(_Armed(fault, path, method, times))

    def clear(self) -> None:
        """Remove all faults."""
        self._armed.clear()

    def take(self, method: str, path: str) -> Fault | None:
        """Return the fault for a request, or None, and count it down."""
        for armed in self._armed:
            if armed.method in (None, method) and fnmatchcase(path, armed.path):
                if armed.left is not None:
                    armed.left -= 1
                    if armed.left == 0:
                        self._armed.remove(armed)
                return armed.fault
        return None


async def _body(request: web.Request, handler: Handler) -> bytes:
    response = await handler(request)
    body = response.body if isinstance(response, web.Response) else None
    return body if isinstance(body, bytes) else b""
