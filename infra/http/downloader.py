"""The Downloader on aiohttp: an allowlist at every hop, a size cap while streaming, bounded patience, one fresh URL."""

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import aiohttp
import structlog
from aiohttp.abc import AbstractResolver
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt, wait_exponential, wait_random
from yarl import URL

from contracts.errors import Reject, RejectCode, Retry
from contracts.events import DiscordFile
from infra.http.allowlist import Allowlist, PublicOnlyResolver

log = structlog.get_logger(__name__)

RefreshUrl = Callable[[DiscordFile], Awaitable[str | None]]
"""Fetches the file's message again for a newly signed URL; None when message or file are gone. May raise Retry or Unavailable."""

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MAX_REDIRECTS = 3
_CHUNK = 64 * 1024
_HEADERS = {"User-Agent": "MapSeek", "Accept-Encoding": "identity"}


@dataclass(frozen=True, slots=True)
class DownloadPolicy:
    """How long to bear with a slow or failing server; all in seconds but `attempts`.

    `read` bounds the silence between two pieces, `total` one attempt with its redirects. A Retry-After beyond `longest_wait`
    is left to the runner, and believed up to `longest_retry_after`.
    """

    attempts: int = 3
    connect: float = 10.0
    read: float = 15.0
    total: float = 60.0
    first_wait: float = 0.5
    longest_wait: float = 30.0
    longest_retry_after: float = 3600.0


class _Refused(Exception):
    """The server will not give this URL's file: expired, deleted or forbidden."""


class HttpDownloader:
    """A Downloader over one aiohttp session, which must resolve names through PublicOnlyResolver. See `open_downloader`."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        allowlist: Allowlist,
        fresh_url: RefreshUrl | None,
        max_bytes: int,
        policy: DownloadPolicy,
    ) -> None:
        self._session = session
        self._allowlist = allowlist
        self._fresh_url = fresh_url
        self._max_bytes = max_bytes
        self._patience = policy

    async def fetch(self, file: DiscordFile) -> bytes:
        try:
            return await self._fetch_patiently(file.url)
        except _Refused as refused:
            fresh = await self._fresh_url(file) if self._fresh_url is not None else None
            if fresh is None:
                raise Reject(RejectCode.GONE, f"The picture is no longer there ({refused}).") from None
        try:
            return await self._fetch_patiently(fresh)
        except _Refused as refused:
            raise Reject(RejectCode.GONE, f"The picture is no longer there ({refused}).") from None

    async def _fetch_patiently(self, url: str) -> bytes:
        retrying = AsyncRetrying(
            stop=stop_after_attempt(self._patience.attempts),
            wait=self._wait,
            retry=retry_if_exception(self._worth_waiting),
            before_sleep=_log_retry,
            reraise=True,
        )
        return await retrying(self._attempt, url)

    def _worth_waiting(self, error: BaseException) -> bool:
        return isinstance(error, Retry) and (error.after is None or error.after <= self._patience.longest_wait)

    def _wait(self, state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome is not None else None
        if isinstance(error, Retry) and error.after is not None:
            return error.after
        first = self._patience.first_wait
        return (wait_exponential(multiplier=first, max=self._patience.longest_wait) + wait_random(max=first))(state)

    async def _attempt(self, url: str) -> bytes:
        target = self._allowlist.check(url)
        try:
            async with asyncio.timeout(self._patience.total):
                return await self._follow(target)
        except TimeoutError as error:
            raise Retry(f"{target.host} took too long") from error
        except aiohttp.ClientError as error:
            # The text of a response error holds the URL, whose signature lets anyone read the file: not for logs.
            reason = error.message if isinstance(error, aiohttp.ClientResponseError) else error
            raise Retry(f"{target.host} cannot be read: {reason}") from error

    async def _follow(self, url: URL) -> bytes:
        for _ in range(_MAX_REDIRECTS + 1):
            async with self._session.get(url, allow_redirects=False) as response:
                location = response.headers.get("Location")
                if response.status not in _REDIRECTS or location is None:
                    return await self._read(response)
                url = self._allowlist.check(_join(url, location))
        raise Reject(RejectCode.NOT_ALLOWED, f"The picture's address was redirected more than {_MAX_REDIRECTS} times.")

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        status = response.status
        if status in (408, 429) or status >= 500:
            raise Retry(f"{response.url.host} answered {status}", after=self._retry_after(response))
        if status != 200:
            raise _Refused(f"{response.url.host} answered {status}")
        data = bytearray()
        # What the server announces may be false either way, so only what arrives is counted; aiohttp tells a body cut short.
        async for chunk in response.content.iter_chunked(_CHUNK):
            data += chunk
            if len(data) > self._max_bytes:
                raise Reject(RejectCode.TOO_LARGE, f"The picture is larger than {self._max_bytes // 1024**2} MB.")
        if not data:
            raise Reject(RejectCode.EMPTY, "The file is empty.")
        return bytes(data)

    def _retry_after(self, response: aiohttp.ClientResponse) -> float | None:
        """Seconds from now, from a number or a date; None where the header is missing or makes no sense."""
        header = response.headers.get("Retry-After", "")
        try:
            seconds = float(header)
        except ValueError:
            try:
                seconds = (parsedate_to_datetime(header).astimezone(UTC) - datetime.now(UTC)).total_seconds()
            except (ValueError, OverflowError):
                return None
        return min(max(seconds, 0.0), self._patience.longest_retry_after) if math.isfinite(seconds) else None


@asynccontextmanager
async def open_downloader(
    *,
    origins: Collection[str] = (),
    fresh_url: RefreshUrl | None = None,
    max_bytes: int = 25 * 1024 * 1024,
    policy: DownloadPolicy | None = None,
    resolver: AbstractResolver | None = None,
) -> AsyncIterator[HttpDownloader]:
    """A downloader with its own session, closed on exit.

    `origins` are trusted beside Discord's as they are written, scheme and port included. Raises MapSeekError if one is malformed.
    """
    allowlist = Allowlist(origins)
    policy = policy or DownloadPolicy()
    guard = PublicOnlyResolver(resolver or aiohttp.DefaultResolver(), allowlist.trusted_hosts)
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(resolver=guard),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=policy.connect, sock_read=policy.read),
        headers=_HEADERS,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
    )
    try:
        yield HttpDownloader(session, allowlist, fresh_url, max_bytes, policy)
    finally:
        await session.close()
        await guard.close()


def _join(base: URL, location: str) -> URL | str:
    try:
        return base.join(URL(location))
    except ValueError:
        return location  # no URL at all: the allowlist says so


def _log_retry(state: RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome is not None else None
    log.info("download_retried", attempt=state.attempt_number, reason=str(error), wait=round(state.upcoming_sleep, 2))
