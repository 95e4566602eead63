"""Limits downloads to exact origins, and to public IP addresses."""

import ipaddress
import socket
from collections.abc import Collection

from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from contracts.errors import MapSeekError, Reject, RejectCode

DISCORD_ORIGINS = (
    "https://cdn.discordapp.com",
    "https://media.discordapp.net",
    "https://images-ext-1.discordapp.net",
    "https://images-ext-2.discordapp.net",
)


class Allowlist:
    """The allowed origins (scheme, host and port): those of Discord, and configured ones, which may have private addresses."""

    def __init__(self, configured: Collection[str] = ()) -> None:
        trusted = [_configured_origin(origin) for origin in configured]
        self._origins = frozenset(_triple(origin) for origin in [*map(URL, DISCORD_ORIGINS), *trusted])
        self.trusted_hosts = frozenset(origin.host for origin in trusted)

    def check(self, url: URL | str) -> URL:
        """Parse a URL; request it exactly as returned.

        Raises Reject(NOT_ALLOWED) for other origins and for URLs with credentials.
        """
        try:
            parsed = _without_trailing_dot(URL(url))
            allowed = _triple(parsed) in self._origins and parsed.user is None and parsed.password is None
        except (TypeError, ValueError):
            raise Reject(RejectCode.NOT_ALLOWED, "The picture's address is not a URL.") from None
        if not allowed:
            raise Reject(RejectCode.NOT_ALLOWED, f"Pictures are not downloaded from {parsed.origin()}.")
        return parsed


class PublicOnlyResolver(AbstractResolver):
    """Refuses host names that resolve to a non-public address (DNS rebinding), unless the host was configured."""

    def __init__(self, inner: AbstractResolver, trusted_hosts: Collection[str | None]) -> None:
        self._inner = inner
        self._trusted_hosts = trusted_hosts

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET) -> list[ResolveResult]:
        results = await self._inner.resolve(host, port, family)
        if host not in self._trusted_hosts and not all(_is_public(result["host"]) for result in results):
            raise OSError(None, f"{host} resolves to an address that is not public")
        return results

    async def close(self) -> None:
        await self._inner.close()


def _triple(url: URL) -> tuple[str, str | None, int | None]:
    """Return scheme, host and port; the default port if none is given. Raises ValueError if there is no host."""
    origin = url.origin()
    return origin.scheme, origin.host, origin.port


def _configured_origin(text: str) -> URL:
    try:
        url = URL(text)
        origin = url.origin()
    except ValueError:
        origin = None
    if origin is None or origin.scheme not in ("http", "https") or url != origin.with_path("/"):
        raise MapSeekError(f"{text!r} is not an origin to download files from: write it like http://127.0.0.1:8080.")
    return _without_trailing_dot(origin)


def _without_trailing_dot(url: URL) -> URL:
    return url.with_host(url.host.rstrip(".")) if url.host is not None and url.host.endswith(".") else url


def _is_public(host: str) -> bool:
    address = ipaddress.ip_address(host.partition("%")[0])
    return address.is_global and not address.is_multicast
