"""The simulated Discord as demo and tests hold it: one object that builds guilds, posts, asks, and lets things go wrong."""

import asyncio
import base64
import secrets
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from contracts.errors import MapSeekError
from infra.simulator import payloads
from infra.simulator.commands import option_values
from infra.simulator.errors import JSON, ApiError
from infra.simulator.faults import Faults, Handler
from infra.simulator.interactions import Interactions
from infra.simulator.model import EPHEMERAL, LOADING, Channel, Guild, Interaction, Member, Message, Overwrite, Role
from infra.simulator.permissions import DEFAULT, Permission, permissions_in
from infra.simulator.rest import BASE, Rest, json_response
from infra.simulator.snowflake import Clock
from infra.simulator.world import Upload, World

_REQUEST_LIMIT = 128 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """What the asker sees in place of the deferred answer. `attachments` are (name, content), embedded ones included."""

    content: str
    embeds: list[JSON]
    attachments: list[Upload]
    flags: int
    edits: int
    deferred_after_s: float | None
    answered_after_s: float

    @property
    def ephemeral(self) -> bool:
        """Whether only the asker sees it."""
        return bool(self.flags & EPHEMERAL)


class Simulator:
    """A local Discord: REST v10, gateway and CDN on one port of `host`, an address of this machine.

    `message_content_intent` is the switch of the developer portal; `heartbeat_interval` is in seconds. `now` may be replaced at any
    time to move the clock that stamps ids, signs URLs and ends interaction tokens. `requests` counts by method and route
    ("GET /channels/{channel}/messages"), and by method and path for files ("GET /attachments/1/2/a.png").
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        message_content_intent: bool = True,
        heartbeat_interval: float = 41.25,
        now: Clock = lambda: datetime.now(UTC),
    ) -> None:
        self.now = now
        self.faults = Faults()
        self.requests: Counter[str] = Counter()
        self.token = f"{base64.urlsafe_b64encode(secrets.token_bytes(14)).decode().rstrip('=')}.{secrets.token_urlsafe(32)}"
        self._host = host
        self._port = port
        self._world = World(
            clock=lambda: self.now(),
            token=self.token,
            message_content=message_content_intent,
            heartbeat_interval=heartbeat_interval,
        )
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen. Raises MapSeekError if the port is taken."""
        world = self._world
        app = web.Application(client_max_size=_REQUEST_LIMIT, middlewares=[self._middleware])
        app.add_routes(Rest(world, self.token).routes())
        app.add_routes(Interactions(world).routes())
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
        """Close every connection and the port; what exists stays, for a later `start`."""
        if self._runner is not None:
            await self._world.gateway.disconnect(resumable=True)
            await self._runner.cleanup()
            self._runner = None

    @property
    def api_base(self) -> str:
        """What `disnake.http.Route.BASE` is to be."""
        return f"{self.cdn_origin}{BASE}"

    @property
    def cdn_origin(self) -> str:
        """The origin of every file's URL."""
        return f"http://{self._host}:{self._port}"

    @property
    def application_id(self) -> int:
        """The id of the one application, and of its bot."""
        return self._world.application_id

    @property
    def connected(self) -> bool:
        """Whether a bot is identified and connected."""
        return self._world.gateway.connected

    def me(self, guild: Guild) -> Member:
        """The bot as a member of a guild, to aim an overwrite or a role at."""
        return self._world.me(guild)

    def add_guild(self, name: str, *, everyone: Permission = DEFAULT) -> Guild:
        """A guild that the bot is in; `everyone` are the permissions of @everyone."""
        return self._world.add_guild(name, everyone)

    def add_role(self, guild: Guild, name: str, permissions: Permission = Permission.NONE) -> Role:
        """A role that grants permissions everywhere in a guild."""
        return self._world.add_role(guild, name, permissions)

    def add_text_channel(self, guild: Guild, name: str, overwrites: Sequence[Overwrite] = ()) -> Channel:
        """A text channel."""
        return self._world.add_text_channel(guild, name, overwrites)

    def add_member(self, guild: Guild, name: str, roles: Sequence[Role] = ()) -> Member:
        """A person in a guild."""
        return self._world.add_member(guild, name, roles)

    async def post(
        self,
        channel: Channel,
        author: Member,
        content: str = "",
        *,
        files: Sequence[Upload] = (),
        embeds: Sequence[JSON] = (),
        at: datetime | None = None,
    ) -> Message:
        """Post as a member, now or in the past; no limit is enforced, so that what old or odd clients left can be had too."""
        message = self._world.new_message(channel, author.user, at)
        message.content, message.embeds = content, list(embeds)
        message.attachments = [self._world.upload(f"attachments/{channel.id}", name, data) for name, data in files]
        self._world.create_message(message)
        return message

    async def edit(
        self,
        message: Message,
        *,
        content: str | None = None,
        embeds: Sequence[JSON] | None = None,
    ) -> None:
        """Change the text, as its author does, or the embeds alone, as Discord does when it unfolds a link."""
        if content is not None:
            message.content, message.edited_at = content, self.now()
        if embeds is not None:
            message.embeds = list(embeds)
        self._world.announce(message, "MESSAGE_UPDATE")

    async def delete(self, message: Message) -> None:
        """Delete a message with its files."""
        self._world.delete_message(message)

    async def redeliver(self, message: Message) -> None:
        """Send MESSAGE_CREATE once more for a message."""
        self._world.announce(message, "MESSAGE_CREATE")

    async def wait_for_command(self, name: str, *, timeout: float = 30) -> None:
        """Return once a connected bot has registered a slash command somewhere. Raises TimeoutError."""
        await self._until(lambda: self.connected and any(self._world.command(guild, name) for guild in self._guilds), timeout)

    async def slash(
        self,
        channel: Channel,
        member: Member,
        name: str,
        *,
        attachments: Mapping[str, Upload] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> Interaction:
        """Use a slash command as a member. Raises MapSeekError for what Discord's own client would not let a member do."""
        command = self._world.command(channel.guild, name)
        if command is None:
            raise MapSeekError(
                f"The bot has not registered the command /{name}; wait until it has logged in and synchronised its commands."
            )
        if not self.connected:
            raise MapSeekError(f"No bot is connected that could be asked /{name}; start the gateway first.")
        if Permission.USE_APPLICATION_COMMANDS not in permissions_in(channel, member):
            raise MapSeekError(
                f"{member.user.name} may not use commands in #{channel.name}; use a channel that the member can see."
            )
        folder = f"ephemeral-attachments/{self.application_id}"
        files = {key: self._world.upload(folder, *upload) for key, upload in (attachments or {}).items()}
        values = option_values(command, {**(options or {}), **files})
        return self._world.create_interaction(channel, member, command, values, list(files.values()))

    async def answer(self, interaction: Interaction, *, timeout: float = 30) -> Answer:
        """Wait for the answer: the deferred one edited, or a message as first response. Raises TimeoutError."""
        await self._until(lambda: interaction.original is not None and not interaction.original.flags & LOADING, timeout)
        message, answered = interaction.original, interaction.answered_after_s
        if message is None or answered is None:
            raise RuntimeError("an answer without a message")
        return Answer(
            content=message.content,
            embeds=payloads.message(message, self._world.cdn.sign)["embeds"],
            attachments=[(each.filename, each.data) for each in message.attachments],
            flags=message.flags,
            edits=interaction.edits,
            deferred_after_s=interaction.deferred_after_s,
            answered_after_s=answered,
        )

    def expire_urls(self, *, status: int = 404) -> None:
        """Let every URL issued before now answer `status`, until a payload is fetched anew."""
        self._world.cdn.expire_urls(status)

    async def disconnect(self, *, resumable: bool = True) -> None:
        """Close the gateway's sockets. `resumable`: a RESUME replays what was missed; otherwise the session is invalid."""
        await self._world.gateway.disconnect(resumable=resumable)

    @property
    def _guilds(self) -> list[Guild]:
        return list(self._world.guilds.values())

    async def _until(self, condition: Callable[[], bool], timeout: float) -> None:
        event = self._world.watch()
        try:
            async with asyncio.timeout(timeout):
                while not condition():
                    event.clear()
                    await event.wait()
        finally:
            self._world.unwatch(event)

    @web.middleware
    async def _middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Count the request, let it meet a fault, and word refusals as Discord does."""
        resource = request.match_info.route.resource
        route = request.path if resource is None else resource.canonical
        self.requests[f"{request.method} {route.removeprefix(BASE)}"] += 1
        if "attachments/" in route:
            self.requests[f"{request.method} {request.path}"] += 1
        fault = self.faults.take(request.method, request.path)
        try:
            return await (handler(request) if fault is None else fault.answer(request, handler))
        except ApiError as error:
            return json_response(error.body, error.status)
        except web.HTTPException as error:
            return json_response({"message": f"{error.status}: {error.reason}", "code": 0}, error.status)
