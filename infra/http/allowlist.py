"""Limits downloads to exact origins, and to public IP addresses.

Which addresses are public does not depend on the version of Python, whose `is_global` passes tunnels and translators.
"""

import ipaddress
import socket
from collections.abc import Collection, Mapping

from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from contracts.errors import MapSeekError, Reject, RejectCode

DISCORD_ORIGINS = (
    "https://cdn.discordapp.com",
    "https://media.discordapp.net",
    "https://images-ext-1.discordapp.net",
    "https://images-ext-2.discordapp.net",
)

REFUSED_NETWORKS: Mapping[str, str] = {
    "0.0.0.0/8": "this network, RFC 791",
    "10.0.0.0/8": "private use, RFC 1918",
    "100.64.0.0/10": "shared address space of providers, RFC 6598",
    "127.0.0.0/8": "loopback, RFC 1122",
    "169.254.0.0/16": "link-local, RFC 3927",
    "172.16.0.0/12": "private use, RFC 1918",
    "192.0.0.0/24": "IETF protocol assignments such as DS-Lite and NAT64 discovery, RFC 6890",
    "192.0.2.0/24": "documentation, RFC 5737",
    "192.88.99.0/24": "6to4 relay, deprecated, RFC 7526",
    "192.168.0.0/16": "private use, RFC 1918",
    "198.18.0.0/15": "benchmarking, RFC 2544",
    "198.51.100.0/24": "documentation, RFC 5737",
    "203.0.113.0/24": "documentation, RFC 5737",
    "224.0.0.0/4": "multicast, RFC 5771",
    "240.0.0.0/4": "reserved, and the broadcast address, RFC 1112 and RFC 8190",
    "::/96": "unspecified, loopback, and IPv4-compatible: the last 32 bits are an IPv4 address, RFC 4291",
    "::ffff:0:0/96": "IPv4-mapped, RFC 4291",
    "64:ff9b::/96": "NAT64: leads to the IPv4 address in its last 32 bits, RFC 6052",
    "64:ff9b:1::/48": "NAT64 of a local network, RFC 8215",
    "100::/64": "discard only, RFC 6666",
    "100:0:0:1::/64": "dummy prefix, RFC 9780",
    "::/3": "not allocated as global unicast, with all IPv6 rows above, RFC 4291 section 2.4",
    "2001::/23": "IETF protocol assignments, with all rows below as far as 2001:30::/28, RFC 2928",
    "2001::/32": "Teredo: holds two IPv4 addresses, RFC 4380",
    "2001:2::/48": "benchmarking, RFC 5180",
    "2001:10::/28": "ORCHID, deprecated, RFC 4843",
    "2001:20::/28": "ORCHIDv2: names of hosts that are not routed, RFC 7343",
    "2001:30::/28": "tags of drones that are not routed, RFC 9374",
    "2001:db8::/32": "documentation, RFC 3849",
    "2002::/16": "6to4: leads to the IPv4 address in bits 16 to 47, RFC 3056",
    "3fff::/20": "documentation, RFC 9637",
    "4000::/2": "not allocated as global unicast; 5f00::/16 are segments of SRv6, RFC 4291 and RFC 9602",
    "8000::/1": "not allocated as global unicast: fc00::/7 unique local, fe80::/10 link-local, ff00::/8 multicast, RFC 4291",
}
"""Addresses at which no file server of Discord can be, with what they are for and where that is written.

From IANA's registries of special-purpose addresses (RFC 6890: iana-ipv4-special-registry, iana-ipv6-special-registry): the entries
that are not globally reachable, and those that lead into another network. And what is not unicast. A row may be part of another.
"""

_REFUSED_NETWORKS = tuple(map(ipaddress.ip_network, REFUSED_NETWORKS))


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
    return not any(address in network for network in _REFUSED_NETWORKS)
