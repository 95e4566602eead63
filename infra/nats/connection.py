"""Connections to the NATS server, which reconnect without end, and the translation of its errors into Unavailable.

Also where the log is and how to log in, and requests between processes, on subjects that belong to no stream.
"""

import asyncio
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

import nkeys
import structlog
from nats.aio.client import Client as Client  # named here for all who never import nats-py
from nats.aio.msg import Msg as Msg
from nats.aio.subscription import Subscription
from nats.errors import ConnectionClosedError, NoRespondersError, OutboundBufferLimitError
from nats.errors import Error as NatsError
from nats.errors import TimeoutError as NatsTimeout
from nats.js.errors import APIError, NoStreamResponseError

from contracts.errors import MapSeekError, Unavailable

log = structlog.get_logger()

UNREACHABLE_ERRORS = (
    NatsTimeout,
    TimeoutError,
    NoRespondersError,
    NoStreamResponseError,
    ConnectionClosedError,
    OutboundBufferLimitError,
)
"""What the client raises while it cannot reach a server."""

LOG_ERRORS = (NatsError,)
"""Everything that the client raises, JetStream's errors included. Only the end of a command catches it: elsewhere it would hide
bugs."""

CLOSE_TIMEOUT_S = 0.5

_VIOLATION = re.compile(r"permissions violation for (publish|subscription) to \"([^\"]*)\"", re.IGNORECASE)
"""What the server says of a subject that the user may not use."""

_REFUSED_LOGINS = ("authorization violation", "authentication")
"""Parts of what the server says when it refuses a login."""


@dataclass(frozen=True, slots=True)
class LogAddress:
    """Where the log is, and how to log in there. Shown as text, it has no secret.

    A user proves its name with a password, with the seed of an NKey or with a creds file, both of which are read at each login.
    The URL may hold a user and a password instead. `tls` is set if the connection must be encrypted with more than the defaults.
    """

    url: str = field(repr=False)
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    nkey_file: Path | None = None
    creds_file: Path | None = None
    tls: ssl.SSLContext | None = field(default=None, repr=False, compare=False)

    def __str__(self) -> str:
        return redact_password(self.url)

    @property
    def is_encrypted(self) -> bool:
        """Whether the connection must be encrypted."""
        return self.tls is not None or split_log_url(self.url).scheme in ("tls", "wss")

    @property
    def user_name(self) -> str | None:
        """The name of the user, if it is known."""
        return self.user or split_log_url(self.url).username

    @property
    def inbox_prefix(self) -> str:
        """The first token of the subjects on which the server answers this user: no other user needs to see them."""
        user = self.user_name
        return f"_INBOX_{re.sub(r'[^A-Za-z0-9_-]', '_', user)}" if user else "_INBOX"

    @property
    def user_and_password(self) -> tuple[str, str] | None:
        """The user and the password, if it is with a password that the user logs in."""
        parts = split_log_url(self.url)
        user, password = (self.user, self.password) if self.password is not None else (parts.username, parts.password)
        return (user, password) if user is not None and password is not None else None

    def build_options(self) -> dict[str, Any]:
        """Return the options of nats-py's `connect` for this address, without user and password."""
        chosen = {"nkeys_seed": self.nkey_file and str(self.nkey_file), "user_credentials": self.creds_file, "tls": self.tls}
        given = {name: value for name, value in chosen.items() if value is not None}
        return {"servers": self.url, "inbox_prefix": self.inbox_prefix, **given}

    def explain_refusal(self) -> str:
        """Say whom the server refuses, and what to correct. No secret is in it."""
        if self.nkey_file is not None:
            return f"refuses the NKey in {self.nkey_file}: correct MAPSEEK_NATS_NKEY, or give the server its public half"
        if self.creds_file is not None:
            return f"refuses the credentials in {self.creds_file}: correct MAPSEEK_NATS_CREDS"
        if self.password is not None:
            return f"refuses the user {self.user!r} with this password: correct MAPSEEK_NATS_USER and MAPSEEK_NATS_PASSWORD"
        if split_log_url(self.url).username is not None:
            return "refuses the user and password in NATS_URL: correct them"
        return "asks who you are: set MAPSEEK_NATS_USER and MAPSEEK_NATS_PASSWORD, MAPSEEK_NATS_NKEY or MAPSEEK_NATS_CREDS"


async def connect(address: LogAddress, name: str, timeout: float = 5) -> Client:
    """Connect to the log.

    Raises MapSeekError when no server answers within `timeout` seconds, or at once when one refuses the login or has no right
    certificate.
    """
    _refuse_unreadable(address)
    client = Client()
    connected = False
    reported = ""
    failure: Exception = TimeoutError()

    async def report(error: Exception) -> None:
        nonlocal reported, failure
        text = str(error) or type(error).__name__
        if not connected:
            failure = error
            if isinstance(error, ssl.SSLError) or _is_refused_login(text):
                raise error  # it would be the same at the next try
        elif not log_violation(error) and text != reported:
            # The client reports the same error four times a second.
            log.warning("log_connection_failing", error=text)
            reported = text

    async def report_reconnected() -> None:
        nonlocal reported
        if reported:
            log.info("log_reconnected")
            reported = ""

    def refuse_plain_text() -> None:
        if address.is_encrypted and not client._server_info.get("tls_required"):
            raise ssl.SSLError(ssl.SSL_ERROR_SSL, "the server does not offer TLS")

    def reveal_password(password: str) -> str:
        refuse_plain_text()
        return password

    options = address.build_options()
    if login := address.user_and_password:
        options |= {"user": login[0], "password": partial(reveal_password, login[1])}
    try:
        async with asyncio.timeout(timeout):
            await client.connect(
                **options,
                name=name,
                max_reconnect_attempts=-1,
                reconnect_time_wait=0.25,  # type: ignore[arg-type]
                connect_timeout=2,
                error_cb=report,
                reconnected_cb=report_reconnected,
                allow_reconnect=True,
            )
        refuse_plain_text()
    except BaseException as error:
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT_S):  # after a failed handshake, nats-py waits without end
                await disconnect(client)
        if not isinstance(error, OSError | NatsError | ValueError):
            raise
        raise MapSeekError(_explain_failure(address, failure if isinstance(error, TimeoutError) else error)) from None
    connected = True
    return client


def _refuse_unreadable(address: LogAddress) -> None:
    """Raise MapSeekError if the file that proves who the user is cannot be read: nats-py would fail in ways of its own."""
    for file in filter(None, (address.nkey_file, address.creds_file)):
        try:
            file.read_bytes()
        except OSError as error:
            raise MapSeekError(
                f"{file} cannot be read ({error.strerror}), which proves to the log who you are: correct its permissions."
            ) from None


def _is_refused_login(text: str) -> bool:
    return any(part in text.lower() for part in _REFUSED_LOGINS)


def _explain_failure(address: LogAddress, error: Exception) -> str:
    """Return the sentence about a connection that could not be made."""
    text = str(error) or type(error).__name__
    if _is_refused_login(text):
        return f"The NATS server at {address} {address.explain_refusal()}."
    if isinstance(error, ssl.SSLError):
        reason = getattr(error, "verify_message", None) or getattr(error, "reason", None) or error.strerror or text
        return f"The NATS server at {address} cannot be reached over TLS ({reason}): correct NATS_URL or MAPSEEK_NATS_TLS_CA."
    return f"No NATS server answers at {address} ({type(error).__name__}): start it, or correct NATS_URL."


def parse_public_key(seed: bytes) -> str | None:
    """Return the public half of the NKey of a user with this seed, None if it is no such seed."""
    try:
        key = nkeys.from_seed(bytearray(seed.strip())).public_key.decode()
    except (nkeys.NkeysError, ValueError):
        return None
    return key if key.startswith("U") else None


def find_refused_subject(client: Client) -> str | None:
    """Return the subject that the server refused to this connection last, in lower case. None if its last error is another one."""
    violation = _VIOLATION.search(str(client.last_error))
    return violation[2] if violation else None


def log_violation(error: Exception) -> bool:
    """Log that the server refused a subject to this user, and return whether it did. Without this, only a timeout would show."""
    if (violation := _VIOLATION.search(str(error))) is None:
        return False
    operation, subject = violation.groups()
    log.error("log_permission_denied", operation=operation, subject=subject, hint="Give the user the permissions of its role.")
    return True


async def disconnect(client: Client) -> None:
    """Close a connection. Ignore errors of a server that is gone."""
    with suppress(OSError, NatsError):
        await client.close()


def redact_password(url: str) -> str:
    """Return the URL with `***` in place of its user and password."""
    secret, at, host = url.rpartition("@")
    scheme, separator, _ = secret.partition("://")
    return f"{scheme + separator if separator else ''}***@{host}" if at else url


def split_log_url(url: str) -> SplitResult:
    """Split the URL of a NATS server, which need not have a scheme. Raises ValueError."""
    parts = urlsplit(url if "://" in url else f"nats://{url}")
    _ = parts.port  # raises for a port that cannot be
    return parts


@contextmanager
def translate_outages() -> Iterator[None]:
    """Raise Unavailable in place of every error that says that the server cannot serve requests now."""
    try:
        yield
    except (APIError, *UNREACHABLE_ERRORS) as error:
        raise Unavailable("log", str(error) or type(error).__name__) from error


@asynccontextmanager
async def subscribe_subject(client: Client, subject: str, on_message: Callable[[Msg], Awaitable[None]]) -> AsyncIterator[None]:
    """Call `on_message` with every message on a subject. In the body of the `with`, the server knows the subscription.

    It takes two flushes to be sure: nats-py sends the ping of a `flush` ahead of what waits in its write buffer, so the first flush
    only empties the buffer. Raises Unavailable.
    """
    async with hold_subscription(client, subject, on_message):
        with translate_outages():
            for _ in range(2):
                await client.flush()
        yield


@asynccontextmanager
async def hold_subscription(
    client: Client, subject: str, on_message: Callable[[Msg], Awaitable[None]] | None = None
) -> AsyncIterator[Subscription]:
    """Subscribe a subject for the time of the `with`. The server may not know it yet when that begins. Raises Unavailable."""
    with translate_outages():
        subscription = await client.subscribe(subject, cb=on_message)
    try:
        yield subscription
    finally:
        if not client.is_closed:
            await subscription.unsubscribe()


async def has_listener(client: Client, subject: str) -> bool:
    """Return whether a process listens on a subject and answers. Raises Unavailable."""
    with translate_outages():
        try:
            await client.request(subject, timeout=2)
        except NoRespondersError:
            return False
    return True
