"""The simulated Discord as demo and tests use it: one object that builds guilds, posts, uses commands and injects faults."""

import base64
import secrets
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import ClassVar, Self

from aiohttp import web

from contracts.errors import MapSeekError
from infra.sandbox.simulator.client import CommandActions
from infra.sandbox.simulator.faults import Fault, Faults, Handler
from infra.sandbox.simulator.fields import JSON, ApiError
from infra.sandbox.simulator.interactions import RestInteractions
from infra.sandbox.simulator.members import GuildActions, MessageActions
from infra.sandbox.simulator.model import Clock
from infra.sandbox.simulator.ratelimits import RateLimits
from infra.sandbox.simulator.rest import API_PREFIX, JsonResponse, Rest, json_response, read_body, read_json
from infra.sandbox.simulator.rest_guilds import RestGuilds
from infra.sandbox.simulator.rest_messages import RestMessages
from infra.sandbox.simulator.world import World

_MAX_REQUEST_BYTES = 128 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request to the REST API and its answer. `path` is the part after the version of the API, such as `/users/@me`.

    A body is the parsed JSON: of a request with files that of its form, None where there is none. `status` is None, and `answered`
    too, if the answer is not the API's own: a fault was injected, or the address is banned.
    """

    method: str
    path: str
    query: dict[str, str]
    sent: object
    status: int | None
    answered: object


class Simulator(GuildActions, MessageActions, CommandActions):
    """A local Discord: REST v10, gateway and CDN on one port of `host`, an address of this machine.

    `message_content_intent` is the switch of the developer portal. `heartbeat_interval` is in seconds. Replace `now` at any time to
    move the clock that stamps ids, signs URLs and ends interaction tokens. `requests` counts requests by method and route ("GET
    /channels/{channel}/messages"), and for files by method and path ("GET /attachments/1/2/a.png"). With `rate_limits`, requests
    are limited as on Discord, with `global_limit` requests a second in all. A client that gets more than `invalid_limit` responses
    of 401, 403 or 429 in ten minutes is banned. `on_exchange` and `on_event` are called with every exchange, and with the name and
    payload of every event that is sent. Set on the class, they hear all simulators of the process.
    """

    on_exchange: ClassVar[Callable[[Exchange], None] | None] = None
    on_event: ClassVar[Callable[[str, JSON], None] | None] = None

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        message_content_intent: bool = True,
        heartbeat_interval: float = 41.25,
        now: Clock = lambda: datetime.now(UTC),
        rate_limits: bool = False,
        global_limit: int = 50,
        invalid_limit: int = 10_000,
    ) -> None:
        self.now = now
        self.faults = Faults()
        self.limits = RateLimits(rate_limits, global_limit, invalid_limit, time.monotonic, lambda: self.now().timestamp())
        self.requests: Counter[str] = Counter()
        self.token = f"{base64.urlsafe_b64encode(secrets.token_bytes(14)).decode().rstrip('=')}.{secrets.token_urlsafe(32)}"
        self._host = host
        self._port = port
        self._world = World(
            clock=lambda: self.now(),
            token=self.token,
            message_content=message_content_intent,
            heartbeat_interval=heartbeat_interval,
            on_event=type(self).on_event,
        )
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.stop()

    async def start(self) -> None:
        """Start to listen. Raises MapSeekError if the port is taken."""
        world = self._world
        app = web.Application(client_max_size=_MAX_REQUEST_BYTES, middlewares=[self._middleware])
        for calls in (Rest, RestGuilds, RestMessages):
            app.add_routes(calls(world, self.token).routes())
        app.add_routes(RestInteractions(world).routes())
        app.add_routes(
            [
                web.get("/gateway/", world.gateway.serve),
                web.get("/attachments/{channel}/{attachment}/{filename}", world.cdn.serve),
                web.get("/ephemeral-attachments/{application}/{attachment}/{filename}", world.cdn.serve),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.5)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._host, self._port).start()
        except OSError as error:
            await self.stop()
            raise MapSeekError(f"The Discord simulator cannot listen on port {self._port}: {error.strerror}.") from None
        self._port = self._runner.addresses[0][1]
        world.cdn.origin = self.cdn_origin
        world.gateway.url = f"ws://{self._host}:{self._port}/gateway/"

    async def stop(self) -> None:
        """Close every connection and the port. The guilds and messages stay, for a later `start`."""
        if self._runner is not None:
            await self._world.gateway.disconnect(resumable=True)
            await self._runner.cleanup()
            self._runner = None

    @property
    def api_base(self) -> str:
        """The base URL of the API, for `disnake.http.Route.BASE`."""
        return f"{self.cdn_origin}{API_PREFIX}"

    @property
    def cdn_origin(self) -> str:
        """The origin of every file's URL."""
        return f"http://{self._host}:{self._port}"

    @property
    def application_id(self) -> int:
        """The id of the only application, and of its bot."""
        return self._world.application_id

    @property
    def connected(self) -> bool:
        """Whether a bot is connected and has identified."""
        return self._world.gateway.connected

    @property
    def invalid_requests(self) -> int:
        """How many responses were a 401, a 403 or a 429, with or without `rate_limits`."""
        return self.limits.invalid_requests

    async def until(self, condition: Callable[[], bool], *, timeout: float = 30) -> None:
        """Wait until a condition on this Discord is true. Raises TimeoutError."""
        await self._world.until(condition, timeout)

    def expire_urls(self, *, status: int = 404) -> None:
        """Make every file URL issued until now respond with `status`. Payloads fetched later contain new URLs."""
        self._world.cdn.expire_urls(status)

    async def disconnect(self, *, resumable: bool = True) -> None:
        """Close the gateway's sockets. If `resumable`, a RESUME replays the missed events; otherwise the session is invalid."""
        await self._world.gateway.disconnect(resumable=resumable)

    @web.middleware
    async def _middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Count the request and, if it is for the API, apply the rate limits."""
        resource = request.match_info.route.resource
        route = request.path if resource is None else resource.canonical
        self.requests[f"{request.method} {route.removeprefix(API_PREFIX)}"] += 1
        if "attachments/" in route:
            self.requests[f"{request.method} {request.path}"] += 1
        if not route.startswith(API_PREFIX):
            return await _respond(request, handler, self.faults.take(request.method, request.path))
        route, fault = route.removeprefix(API_PREFIX), None
        response: web.StreamResponse | None = self.limits.check(request, route)
        if response is None:
            fault = self.faults.take(request.method, request.path)
            response = await _respond(request, handler, fault)
            if not response.prepared:
                response.headers.update(self.limits.build_headers(request, route))
        self.limits.count_invalid(response.status)
        if (hear := type(self).on_exchange) is not None:
            hear(await _build_exchange(request, response, fault))
        return response


async def _respond(request: web.Request, handler: Handler, fault: Fault | None) -> web.StreamResponse:
    """Apply an injected fault, and convert errors to Discord's JSON."""
    try:
        return await (handler(request) if fault is None else fault.answer(request, handler))
    except ApiError as error:
        return json_response(error.body, error.status)
    except web.HTTPException as error:
        return json_response({"message": f"{error.status}: {error.reason}", "code": 0}, error.status)


async def _build_exchange(request: web.Request, response: web.StreamResponse, fault: Fault | None) -> Exchange:
    sent: object = None
    with suppress(ApiError):
        if request.content_type == "multipart/form-data":
            sent = (await read_body(request)).payload
        elif request.body_exists:
            sent = await read_json(request)
    answered = response.answered if isinstance(response, JsonResponse) else None
    status = response.status if fault is None and (answered is not None or response.status == 204) else None
    return Exchange(request.method, request.path.removeprefix(API_PREFIX), dict(request.query), sent, status, answered)
