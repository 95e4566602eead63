"""Where files may be fetched from: exact origins, and only public addresses behind Discord's names."""

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
    """The origins (scheme, host and port) that may be asked: Discord's, and those configured, trusted as they are written."""

    def __init__(self, configured: Collection[str] = ()) -> None:
        trusted = [_configured_origin(origin) for origin in configured]
        self._origins = frozenset(_triple(origin) for origin in [*map(URL, DISCORD_ORIGINS), *trusted])
        self.trusted_hosts = frozenset(origin.host for origin in trusted)

    def check(self, url: URL | str) -> URL:
        """The parsed URL, to be requested exactly so. Raises Reject(NOT_ALLOWED) for any other origin and for credentials."""
        try:
            parsed = _without_trailing_dot(URL(url))
            allowed = _triple(parsed) in self._origins and parsed.user is None and parsed.password is None
        except (TypeError, ValueError):
            raise Reject(RejectCode.NOT_ALLOWED, "The picture's address is not a URL.") from None
        if not allowed:
            raise Reject(RejectCode.NOT_ALLOWED, f"Pictures are not fetched from {parsed.origin()}.")
        return parsed


class PublicOnlyResolver(AbstractResolver):
    """Refuses a name that leads to an address inside our own network (DNS rebinding), unless its host was configured."""

    def __init__(self, inner: AbstractResolver, trusted_hosts: Collection[str | None]) -> None:
        self._inner = inner
        self._trusted_hosts = trusted_hosts

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET) -> list[ResolveResult]:
        results = await self._inner.resolve(host, port, family)
        if host not in self._trusted_hosts and not all(_is_public(result["host"]) for result in results):
            raise OSError(None, f"{host} leads to an address that is not public")
        return results

    async def close(self) -> None:
        await self._inner.close()


def _triple(url: URL) -> tuple[str, str | None, int | None]:
    """What browsers call an origin; a port that is not written is the scheme's own. Raises ValueError where there is no host."""
    origin = url.origin()
    return origin.scheme, origin.host, origin.port


def _configured_origin(text: str) -> URL:
    try:
        url = URL(text)
        origin = url.origin()
    except ValueError:
        origin = None
    if origin is None or origin.scheme not in ("http", "https") or url != origin.with_path("/"):
        raise MapSeekError(f"{text!r} is not an origin that files can be fetched from: write it like http://127.0.0.1:8080.")
    return _without_trailing_dot(origin)


def _without_trailing_dot(url: URL) -> URL:
    return url.with_host(url.host.rstrip(".")) if url.host is not None and url.host.endswith(".") else url


def _is_public(host: str) -> bool:
    address = ipaddress.ip_address(host.partition("%")[0])
    return address.is_global and not address.is_multicast
