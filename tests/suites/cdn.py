"""A file server on loopback that misbehaves as it is told, and a name service that lies."""

import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from itertools import count

from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult

from contracts.events import DiscordFile

Behaviour = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Cdn:
    """A server whose every path is one behaviour; it counts what it is asked."""

    def __init__(self) -> None:
        self.asked: dict[str, int] = {}
        self.origin = ""
        self.behaviours: dict[str, Behaviour] = {}

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked[request.path] = self.asked.get(request.path, 0) + 1
        return await self.behaviours[request.path](request)

    def at(self, path: str, *answers: web.StreamResponse | Behaviour) -> DiscordFile:
        """Answers in turn, the last one for ever."""
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
async def running() -> AsyncIterator[Cdn]:
    cdn = Cdn()
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


class Names(AbstractResolver):
    """A name service that answers what it is told: name to address, and the port to be led to (None: the one asked for)."""

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
