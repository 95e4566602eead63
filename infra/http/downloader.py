"""The Downloader on aiohttp: checks every redirect, limits size, time and attempts, and refreshes an expired URL once."""

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
"""Reads the file's message again and returns a newly signed URL, None if message or file are gone.

May raise Retry or Unavailable.
"""

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MAX_REDIRECTS = 3
_CHUNK = 64 * 1024
_HEADERS = {"User-Agent": "MapSeek", "Accept-Encoding": "identity"}


@dataclass(frozen=True, slots=True)
class DownloadPolicy:
    """Timeouts and retries for a slow or failing server.

    `read_s` limits the wait for the next bytes, `total_s` one attempt with its redirects. If the server asks for a longer wait
    (Retry-After) than `max_wait_s`, the runner retries later. `max_retry_after_s` is the longest Retry-After that is accepted.
    """

    attempts: int = 3
    connect_s: float = 10.0
    read_s: float = 15.0
    total_s: float = 60.0
    first_wait_s: float = 0.5
    max_wait_s: float = 30.0
    max_retry_after_s: float = 3600.0


class _Refused(Exception):
    """The server refuses this URL: it is expired, deleted or forbidden."""


class HttpDownloader:
    """A Downloader on one aiohttp session, which must use PublicOnlyResolver. Open it with `open_downloader`."""

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
        self._policy = policy

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
            stop=stop_after_attempt(self._policy.attempts),
            wait=self._wait,
            retry=retry_if_exception(self._worth_waiting),
            before_sleep=_log_retry,
            reraise=True,
        )
        return await retrying(self._attempt, url)

    def _worth_waiting(self, error: BaseException) -> bool:
        return isinstance(error, Retry) and (error.after is None or error.after <= self._policy.max_wait_s)

    def _wait(self, state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome is not None else None
        if isinstance(error, Retry) and error.after is not None:
            return error.after
        first = self._policy.first_wait_s
        return (wait_exponential(multiplier=first, max=self._policy.max_wait_s) + wait_random(max=first))(state)

    async def _attempt(self, url: str) -> bytes:
        target = self._allowlist.check(url)
        try:
            async with asyncio.timeout(self._policy.total_s):
                return await self._follow(target)
        except TimeoutError as error:
            raise Retry(f"{target.host} took too long") from error
        except aiohttp.ClientError as error:
            # The text of a response error has the URL, whose signature lets anyone read the file. Keep it out of the logs.
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
        # Content-Length may be wrong, so count what arrives. aiohttp raises if the body is shorter than announced.
        async for chunk in response.content.iter_chunked(_CHUNK):
            data += chunk
            if len(data) > self._max_bytes:
                raise Reject(RejectCode.TOO_LARGE, f"The picture is larger than {self._max_bytes // 1024**2} MB.")
        if not data:
            raise Reject(RejectCode.EMPTY, "The file is empty.")
        return bytes(data)

    def _retry_after(self, response: aiohttp.ClientResponse) -> float | None:
        """Return the seconds to wait, from a number or a date; None if the header is missing or invalid."""
        header = response.headers.get("Retry-After", "")
        try:
            seconds = float(header)
        except ValueError:
            try:
                seconds = (parsedate_to_datetime(header).astimezone(UTC) - datetime.now(UTC)).total_seconds()
            except (ValueError, OverflowError):
                return None
        return min(max(seconds, 0.0), self._policy.max_retry_after_s) if math.isfinite(seconds) else None


@asynccontextmanager
async def open_downloader(
    *,
    origins: Collection[str] = (),
    fresh_url: RefreshUrl | None = None,
    max_bytes: int = 25 * 1024 * 1024,
    policy: DownloadPolicy | None = None,
    resolver: AbstractResolver | None = None,
) -> AsyncIterator[HttpDownloader]:
    """Open a downloader with its own session; close it on exit.

    `origins` are allowed in addition to Discord's, with exactly this scheme and port. Raises MapSeekError if one is malformed.
    """
    allowlist = Allowlist(origins)
    policy = policy or DownloadPolicy()
    guard = PublicOnlyResolver(resolver or aiohttp.DefaultResolver(), allowlist.trusted_hosts)
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(resolver=guard),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=policy.connect_s, sock_read=policy.read_s),
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
        return location  # not a URL: the allowlist rejects it


def _log_retry(state: RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome is not None else None
    log.info("download_retried", attempt=state.attempt_number, error=str(error), wait_s=round(state.upcoming_sleep, 2))
