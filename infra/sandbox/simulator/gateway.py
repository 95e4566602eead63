"""The gateway: WebSocket sessions that identify, receive events, resume and close as on Discord."""

import asyncio
import secrets
import zlib
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import WSMsgType, web

from infra.sandbox.simulator.fields import JSON

GUILDS_INTENT = 1 << 0
GUILD_MESSAGES_INTENT = 1 << 9
GUILD_MESSAGE_REACTIONS_INTENT = 1 << 10
DIRECT_MESSAGES_INTENT = 1 << 12
MESSAGE_CONTENT_INTENT = 1 << 15
_UNGRANTED_INTENTS = 1 << 1 | 1 << 8
_MAX_REPLAYED_EVENTS = 10_000

HEARTBEAT_ROUND_TRIP_S = 0.1
"""The delay of a heartbeat acknowledgement.

Over a network, a client always records its heartbeat before the acknowledgement comes.
"""

_DISPATCH, _HEARTBEAT, _IDENTIFY, _PRESENCE, _RESUME = 0, 1, 2, 3, 6
_INVALID_SESSION, _HELLO, _HEARTBEAT_ACK = 9, 10, 11


class _CloseSocket(Exception):
    """Closes the socket of a client that broke the protocol."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class GatewayConnection:
    """An open socket. Frames are queued, and `send_queued` sends them in order."""

    def __init__(self, socket: web.WebSocketResponse, *, compress: bool) -> None:
        self.socket = socket
        self._frames: asyncio.Queue[bytes] = asyncio.Queue()
        self._deflate = zlib.compressobj() if compress else None

    def send(self, op: int, data: Any = None) -> None:
        """Queue a frame that is not an event."""
        self.send_frame(orjson.dumps({"op": op, "d": data, "s": None, "t": None}))

    def send_frame(self, frame: bytes) -> None:
        """Queue an encoded frame."""
        self._frames.put_nowait(frame)

    async def send_queued(self) -> None:
        """Send the queued frames until the socket is closed."""
        with suppress(ConnectionError):
            while not self.socket.closed:
                frame = await self._frames.get()
                if self._deflate is None:
                    await self.socket.send_str(frame.decode())
                else:
                    await self.socket.send_bytes(self._deflate.compress(frame) + self._deflate.flush(zlib.Z_SYNC_FLUSH))


@dataclass(eq=False, slots=True)
class GatewaySession:
    """The session of an identified client. Its events are numbered, and kept so that the client can resume."""

    id: str
    intents: int
    connection: GatewayConnection | None
    sequence: int = 0
    events: deque[tuple[int, bytes]] = field(default_factory=lambda: deque(maxlen=_MAX_REPLAYED_EVENTS))

    def dispatch(self, event: str, payload: JSON) -> None:
        """Send an event now if the client is connected, otherwise when it resumes."""
        self.sequence += 1
        frame = orjson.dumps({"op": _DISPATCH, "t": event, "s": self.sequence, "d": payload})
        self.events.append((self.sequence, frame))
        if self.connection is not None:
            self.connection.send_frame(frame)

    def frames_after(self, sequence: int) -> list[bytes] | None:
        """Return the frames of the events after a sequence number, or None if some of them are no longer kept."""
        oldest = self.events[0][0] if self.events else self.sequence + 1
        if not oldest - 1 <= sequence <= self.sequence:
            return None
        return [frame for number, frame in self.events if number > sequence]


class GatewayServer:
    """All sessions.

    `ready_fields` returns the specific fields of READY, `guild_payloads` the payloads of GUILD_CREATE. `change_event` returns the
    payload that is sent in place of an event's. `on_event` is called with the name and payload of every event that a session gets
    unchanged.
    """

    def __init__(
        self,
        *,
        token: str,
        message_content: bool,
        heartbeat_interval: float,
        ready_fields: Callable[[], JSON],
        guild_payloads: Callable[[], list[JSON]],
        on_change: Callable[[], None],
        on_event: Callable[[str, JSON], None] | None,
    ) -> None:
        self.url = ""
        self.sessions: dict[str, GatewaySession] = {}
        self.identified_intents: int | None = None
        self._token = token
        self._message_content = message_content
        self._heartbeat_interval = heartbeat_interval
        self._ready_fields = ready_fields
        self._guild_payloads = guild_payloads
        self._on_change = on_change
        self._on_event = on_event
        self.change_event: Callable[[str, JSON], JSON] = lambda _, payload: payload
        self._connections: set[GatewayConnection] = set()

    @property
    def connected(self) -> bool:
        """Whether an identified client is connected now."""
        return any(session.connection is not None for session in self.sessions.values())

    def dispatch(self, event: str, payload: JSON, *, intent: int = 0, without_content: JSON | None = None) -> None:
        """Send an event to every session with the intent. Sessions without the message content intent get `without_content`."""
        for session in self.sessions.values():
            if session.intents & intent == intent:
                hidden = without_content is not None and not session.intents & MESSAGE_CONTENT_INTENT
                self._send(session, event, without_content if hidden and without_content is not None else payload)

    def _send(self, session: GatewaySession, event: str, payload: JSON) -> None:
        sent = self.change_event(event, payload)
        session.dispatch(event, sent)
        if self._on_event is not None and sent is payload:
            self._on_event(event, payload)

    async def disconnect(self, *, resumable: bool) -> None:
        """Close every socket. Without `resumable`, delete the sessions too, so that a RESUME gets INVALID_SESSION."""
        if not resumable:
            self.sessions.clear()
        for connection in tuple(self._connections):
            self._detach(connection)
            await connection.socket.close(code=4000, message=b"Unknown error")

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Serve a client from HELLO until its socket closes."""
        socket = web.WebSocketResponse(compress=False, max_msg_size=4096)
        await socket.prepare(request)
        connection = GatewayConnection(socket, compress=request.query.get("compress") == "zlib-stream")
        self._connections.add(connection)
        writer = asyncio.create_task(connection.send_queued())
        try:
            if request.query.get("v") != "10" or request.query.get("encoding") != "json":
                raise _CloseSocket(4012, "Invalid API version")
            connection.send(_HELLO, {"heartbeat_interval": int(self._heartbeat_interval * 1000)})
            await self._receive_frames(connection)
        except _CloseSocket as close:
            await socket.close(code=close.code, message=close.reason.encode())
        finally:
            writer.cancel()
            self._detach(connection, ended=socket.close_code in (1000, 1001))
            self._on_change()
        return socket

    def _detach(self, connection: GatewayConnection, *, ended: bool = False) -> None:
        """Detach a closed socket from its session. The session stays resumable, unless the client itself ended it."""
        self._connections.discard(connection)
        for session in tuple(self.sessions.values()):
            if session.connection is connection:
                session.connection = None
                if ended:
                    del self.sessions[session.id]

    async def _receive_frames(self, connection: GatewayConnection) -> None:
        session: GatewaySession | None = None
        while True:
            try:
                message = await connection.socket.receive(timeout=self._heartbeat_interval * 1.5)
            except TimeoutError:
                raise _CloseSocket(4009, "Session timed out") from None
            if message.type is not WSMsgType.TEXT:
                return
            op, data = _decode(message.data)
            if op == _HEARTBEAT:
                asyncio.get_running_loop().call_later(HEARTBEAT_ROUND_TRIP_S, connection.send, _HEARTBEAT_ACK)
            elif op == _IDENTIFY:
                if session is not None:
                    raise _CloseSocket(4005, "Already authenticated.")
                session = self._identify(connection, data)
            elif op == _RESUME:
                if session is not None:
                    raise _CloseSocket(4005, "Already authenticated.")
                session = self._resume(connection, data)
            elif session is None:
                raise _CloseSocket(4003, "Not authenticated.")
            elif op != _PRESENCE:
                raise _CloseSocket(4001, f"Opcode {op} is not simulated.")

    def _identify(self, connection: GatewayConnection, data: JSON) -> GatewaySession:
        self._authenticate(data)
        intents = data.get("intents")
        if not isinstance(intents, int) or "properties" not in data:
            raise _CloseSocket(4013, "Invalid intent(s).")
        if intents & _UNGRANTED_INTENTS or (intents & MESSAGE_CONTENT_INTENT and not self._message_content):
            raise _CloseSocket(4014, "Disallowed intent(s).")
        session = GatewaySession(secrets.token_hex(16), intents, connection)
        self.sessions[session.id] = session
        self.identified_intents = intents
        guilds = self._guild_payloads()
        self._send(
            session,
            "READY",
            {
                "v": 10,
                "session_id": session.id,
                "resume_gateway_url": self.url,
                "guilds": [{"id": guild["id"], "unavailable": True} for guild in guilds],
                **self._ready_fields(),
            },
        )
        if intents & GUILDS_INTENT:
            for guild in guilds:
                if not guild["unavailable"]:
                    self._send(session, "GUILD_CREATE", guild)
        self._on_change()
        return session

    def _resume(self, connection: GatewayConnection, data: JSON) -> GatewaySession | None:
        self._authenticate(data)
        session = self.sessions.get(str(data.get("session_id")))
        missed = None if session is None or not isinstance(data.get("seq"), int) else session.frames_after(data["seq"])
        if session is None or missed is None:
            connection.send(_INVALID_SESSION, data=False)
            return None
        session.connection = connection
        for frame in missed:
            connection.send_frame(frame)
        session.dispatch("RESUMED", {})
        self._on_change()
        return session

    def _authenticate(self, data: JSON) -> None:
        if data.get("token") != self._token:
            raise _CloseSocket(4004, "Authentication failed.")


def _decode(text: str) -> tuple[int, Any]:
    try:
        frame = orjson.loads(text)
        return int(frame["op"]), frame["d"]
    except (ValueError, KeyError, TypeError):
        raise _CloseSocket(4002, "Error while decoding payload.") from None
