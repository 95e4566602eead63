"""The addresses to which an allowed name may lead: no special-purpose one, at whatever edge of its range, and every public one."""

import ipaddress

import pytest

from infra.http.allowlist import REFUSED_NETWORKS, PublicOnlyResolver
from tests.support.files import FakeResolver

NETWORKS = tuple(map(ipaddress.ip_network, REFUSED_NETWORKS))
HOST = "cdn.discordapp.com"

IANA_NOT_GLOBALLY_REACHABLE = """
    0.0.0.0/8 0.0.0.0/32 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 192.0.0.0/29 192.0.0.8/32
    192.0.0.9/32 192.0.0.10/32 192.0.0.170/32 192.0.0.171/32 192.0.2.0/24 192.88.99.0/24 192.168.0.0/16 198.18.0.0/15
    198.51.100.0/24 203.0.113.0/24 224.0.0.0/4 240.0.0.0/4 255.255.255.255/32
    ::/128 ::1/128 ::/96 ::ffff:0:0/96 64:ff9b::/96 64:ff9b:1::/48 100::/64 100:0:0:1::/64 2001::/23 2001::/32 2001:2::/48
    2001:10::/28 2001:20::/28 2001:db8::/32 2002::/16 3fff::/20 5f00::/16 fc00::/7 fe80::/10 fec0::/10 ff00::/8
"""
"""The entries of IANA's registries that are not globally reachable or lead elsewhere, typed from there, and multicast."""

PUBLIC = """
    1.1.1.1 8.8.8.8 162.159.135.233 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.1 169.253.255.255
    169.255.0.0 172.15.255.255 172.32.0.0 191.255.255.255 192.0.1.0 192.0.3.0 192.88.98.255 192.88.100.0 192.167.255.255 192.169.0.0
    198.17.255.255 198.20.0.0 198.51.99.255 198.51.101.0 203.0.112.255 203.0.114.0 223.255.255.255
    2000::1 2001:200::1 2001:db7:ffff::1 2001:db9::1 2001:ffff::1 2003::1 2606:4700::1 2600:1901:0:38d7:: 3ffe::1 3fff:1000::1
"""
"""Public addresses, among them the neighbours of every range."""


async def may_lead_to(address: str) -> bool:
    resolver = PublicOnlyResolver(FakeResolver({HOST: (address, None)}), trusted_hosts=())
    try:
        return [each["host"] for each in await resolver.resolve(HOST, 443)] == [address]
    except OSError as error:
        assert str(error) == f"[Errno None] {HOST} resolves to an address that is not public"  # noqa: PT017
        return False


@pytest.mark.parametrize("entry", [*REFUSED_NETWORKS, *IANA_NOT_GLOBALLY_REACHABLE.split()])
async def test_no_address_of_a_special_range_is_asked(entry: str) -> None:
    network = ipaddress.ip_network(entry)
    middle = network.network_address + network.num_addresses // 2
    for address in (network.network_address, middle, network.broadcast_address):
        assert not await may_lead_to(str(address)), address


@pytest.mark.parametrize("address", PUBLIC.split())
async def test_public_addresses_and_the_neighbours_of_special_ranges_are_asked(address: str) -> None:
    assert await may_lead_to(address)


@pytest.mark.parametrize("entry", REFUSED_NETWORKS)
async def test_the_neighbours_of_a_range_are_refused_only_by_another_range(entry: str) -> None:
    network = ipaddress.ip_network(entry)
    for number in (int(network.network_address) - 1, int(network.broadcast_address) + 1):
        if 0 <= number < 2**network.max_prefixlen:
            address = type(network.network_address)(number)
            assert await may_lead_to(str(address)) == (not any(address in other for other in NETWORKS)), address


@pytest.mark.parametrize(
    "address",
    [
        "64:ff9b::10.0.0.1",
        "64:ff9b::1.1.1.1",
        "64:ff9b:1:fffe::7f00:1",
        "2002:7f00:1::1",
        "2002:0a00:0001::",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",
        "::10.0.0.1",
        "::ffff:10.0.0.1",
        "::ffff:1.1.1.1",
        "fe80::1%eth0",
        "2606:4700::1%",
    ],
)
async def test_tunnels_translators_and_scopes_lead_nowhere_else(address: str) -> None:
    assert await may_lead_to(address) == address.startswith("2606:")
