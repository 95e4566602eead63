"""The downloader against a real server on loopback that makes every error of a CDN, and against host names that resolve to private
addresses."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from contracts.errors import MapSeekError, Reject, RejectCode, Retry
from contracts.events import DiscordFile
from infra.http.downloader import DownloadPolicy, open_downloader
from tests.support.files import FakeCdn, FakeResolver, run_cdn

QUICK_POLICY = DownloadPolicy(connect_s=2, read_s=5, total_s=10, first_wait_s=0.001)
MAX_BYTES = 100_000
PICTURE = bytes(range(256)) * 300


@pytest.fixture
async def cdn() -> AsyncIterator[FakeCdn]:
    async with run_cdn() as server:
        yield server


@pytest.fixture
async def stranger() -> AsyncIterator[FakeCdn]:
    """A server on loopback that is not on the list of allowed origins."""
    async with run_cdn() as server:
        server.at("/map.png", web.Response(body=PICTURE))
        yield server


async def fetch(cdn: FakeCdn, file: DiscordFile, fresh: str | None = None, **options: Any) -> bytes:
    async def fresh_url(_: DiscordFile) -> str | None:
        return fresh

    arguments = {"origins": [cdn.origin], "fresh_url": fresh_url, "max_bytes": MAX_BYTES, "policy": QUICK_POLICY, **options}
    async with open_downloader(**arguments) as downloader:
        return await downloader.fetch(file)


async def fetch_rejection(cdn: FakeCdn, file: DiscordFile, fresh: str | None = None, **options: Any) -> RejectCode:
    with pytest.raises(Reject) as info:
        await fetch(cdn, file, fresh, **options)
    return info.value.code


async def fetch_retry(cdn: FakeCdn, file: DiscordFile, **options: Any) -> Retry:
    with pytest.raises(Retry) as info:
        await fetch(cdn, file, **options)
    return info.value


def redirect(location: str, status: int = 302) -> web.Response:
    return web.Response(status=status, headers={"Location": location})


class TestSuccess:
    async def test_a_file_is_downloaded_completely(self, cdn: FakeCdn) -> None:
        assert await fetch(cdn, cdn.at("/map.png", web.Response(body=PICTURE))) == PICTURE

    async def test_a_configured_name_may_lead_to_loopback(self, cdn: FakeCdn) -> None:
        cdn.at("/map.png", web.Response(body=PICTURE))
        local = cdn.origin.replace("127.0.0.1", "localhost")
        resolver = FakeResolver({"localhost": ("127.0.0.1", None)})
        assert await fetch(cdn, DiscordFile(url=f"{local}/map.png"), origins=[local], resolver=resolver) == PICTURE

    async def test_no_content_encoding_is_requested(self, cdn: FakeCdn) -> None:
        async def echo(request: web.Request) -> web.StreamResponse:
            return web.Response(text=f"{request.headers['Accept-Encoding']} {request.headers['User-Agent']} {request.query_string}")

        cdn.at("/map.png", echo)
        assert await fetch(cdn, cdn.file("/map.png?ex=1a&is=2b&hm=3c")) == b"identity MapSeek ex=1a&is=2b&hm=3c"

    async def test_redirects_on_the_list_are_followed(self, cdn: FakeCdn) -> None:
        cdn.at("/c", web.Response(body=PICTURE))
        cdn.at("/b", redirect(f"{cdn.origin}/c", 308))
        assert await fetch(cdn, cdn.at("/a", redirect("b", 301))) == PICTURE


class TestAllowlist:
    @pytest.mark.parametrize(
        "url",
        [
            "http://cdn.discordapp.com/a.png",
            "http://cdn.discordapp.com:443/a.png",
            "https://cdn.discordapp.com:8443/a.png",
            "https://cdn.discordapp.com@evil.example/a.png",
            "https://cdn.discordapp.com:443@evil.example/a.png",
            "https://user:password@cdn.discordapp.com/a.png",
            "https://cdn.discordapp.com\\@evil.example/a.png",
            "https://cdn.discordapp.com.evil.example/a.png",
            "https://xcdn.discordapp.com/a.png",
            "https://discordapp.com/a.png",
            "https://сdn.discordapp.com/a.png",
            "https://evil.example/https://cdn.discordapp.com/a.png",
            "https://evil.example#https://cdn.discordapp.com/a.png",
            "https://127.0.0.1/a.png",
            "https://[::1]/a.png",
            "https://2130706433/a.png",
            "https://169.254.169.254/latest/meta-data",
            "//cdn.discordapp.com/a.png",
            "cdn.discordapp.com/a.png",
            "file:///etc/passwd",
            "data:image/png;base64,AAAA",
            "https://",
            "https://cdn.discordapp.com:99999/",
            "",
        ],
    )
    async def test_a_url_off_the_list_is_never_requested(self, cdn: FakeCdn, url: str) -> None:
        names = FakeResolver()
        file = DiscordFile.model_construct(url=url)  # some of these no fact may have
        assert await fetch_rejection(cdn, file, resolver=names) is RejectCode.NOT_ALLOWED
        assert names.asked == []

    @pytest.mark.parametrize(
        "url",
        [
            "https://cdn.discordapp.com/a.png",
            "https://CDN.DiscordApp.COM/a.png",
            "HTTPS://cdn.discordapp.com:443/a.png",
            "https://cdn.discordapp.com./a.png",
            "https://media.discordapp.net/a.png",
            "https://images-ext-1.discordapp.net/a.png",
            "https://images-ext-2.discordapp.net/a.png",
        ],
    )
    async def test_discords_own_servers_are_allowed_in_any_spelling(self, cdn: FakeCdn, url: str) -> None:
        names = FakeResolver()
        await fetch_retry(cdn, DiscordFile(url=url), resolver=names)
        assert set(names.asked) == {url.lower().split("/")[2].removesuffix(":443").rstrip(".")}

    async def test_another_port_of_a_configured_host_is_off_the_list(self, cdn: FakeCdn, stranger: FakeCdn) -> None:
        assert await fetch_rejection(cdn, stranger.file("/map.png")) is RejectCode.NOT_ALLOWED
        assert stranger.asked == {}

    @pytest.mark.parametrize(
        "target", ["", "https://evil.example/a", "http://cdn.discordapp.com/a", "http://10.0.0.1/a", "http://[", "//evil/a"]
    )
    async def test_a_redirect_off_the_list_is_not_followed(self, cdn: FakeCdn, stranger: FakeCdn, target: str) -> None:
        file = cdn.at("/a", redirect(target or f"{stranger.origin}/map.png"))
        assert await fetch_rejection(cdn, file) is RejectCode.NOT_ALLOWED
        assert stranger.asked == {}
        assert cdn.asked == {"/a": 1}

    async def test_too_many_redirects_are_rejected(self, cdn: FakeCdn) -> None:
        assert await fetch_rejection(cdn, cdn.at("/a", redirect("/a"))) is RejectCode.NOT_ALLOWED
        assert cdn.asked == {"/a": 4}

    @pytest.mark.parametrize(
        "origin", ["127.0.0.1:80", "http://host/path", "ftp://host", "", "https://user:password@host", "http://"]
    )
    async def test_a_malformed_origin_is_refused_in_one_sentence(self, origin: str) -> None:
        with pytest.raises(MapSeekError, match="is not an origin to download files from: write it like"):
            async with open_downloader(origins=[origin]):
                raise AssertionError


class TestDnsRebinding:
    @pytest.mark.parametrize("address", ["127.0.0.1", "::ffff:127.0.0.1"])
    async def test_a_discord_host_must_not_resolve_to_a_private_address(self, cdn: FakeCdn, address: str) -> None:
        """The host name resolves to a listening port. Without the guard, the downloader would connect to it."""
        connections = 0

        def connected(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal connections
            connections += 1
            writer.close()

        async with await asyncio.start_server(connected, "127.0.0.1", 0) as server:
            names = FakeResolver({"cdn.discordapp.com": (address, server.sockets[0].getsockname()[1])})
            error = await fetch_retry(cdn, DiscordFile(url="https://cdn.discordapp.com/a.png"), resolver=names)
        assert "resolves to an address that is not public" in str(error)
        assert connections == 0

    @pytest.mark.parametrize(
        "address",
        [
            "10.0.0.1",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "0.0.0.0",
            "100.64.0.1",
            "::1",
            "fe80::1",
            "fd00::1",
            "224.0.0.1",
        ],
    )
    async def test_no_private_address_is_connected_to(self, cdn: FakeCdn, address: str) -> None:
        names = FakeResolver({"media.discordapp.net": (address, None)})
        error = await fetch_retry(cdn, DiscordFile(url="https://media.discordapp.net/a.png"), resolver=names)
        assert "resolves to an address that is not public" in str(error)


class TestSize:
    async def test_exactly_the_limit_is_allowed(self, cdn: FakeCdn) -> None:
        assert len(await fetch(cdn, cdn.at("/a", web.Response(body=b"x" * MAX_BYTES)))) == MAX_BYTES

    async def test_a_declared_length_above_the_limit_is_rejected(self, cdn: FakeCdn) -> None:
        assert await fetch_rejection(cdn, cdn.at("/a", web.Response(body=b"x" * (MAX_BYTES + 1)))) is RejectCode.TOO_LARGE
        assert cdn.asked == {"/a": 1}

    async def test_an_endless_body_without_a_length_is_cut_off(self, cdn: FakeCdn) -> None:
        sent = 0

        async def flood(request: web.Request) -> web.StreamResponse:
            nonlocal sent
            response = web.StreamResponse()
            response.enable_chunked_encoding()
            await response.prepare(request)
            while True:
                await response.write(b"x" * 10_000)
                sent += 10_000

        assert await fetch_rejection(cdn, cdn.at("/a", flood)) is RejectCode.TOO_LARGE
        assert sent < 50_000_000  # only what fits into the socket buffers, not everything that the server would send

    async def test_an_empty_file_is_rejected(self, cdn: FakeCdn) -> None:
        assert await fetch_rejection(cdn, cdn.at("/a", web.Response(body=b""))) is RejectCode.EMPTY

    async def test_a_body_shorter_than_its_length_is_tried_again(self, cdn: FakeCdn) -> None:
        async def cut(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse(headers={"Content-Length": str(len(PICTURE))})
            await response.prepare(request)
            await response.write(PICTURE[:1000])
            assert request.transport is not None
            request.transport.close()
            return response

        assert await fetch(cdn, cdn.at("/a", cut, web.Response(body=PICTURE))) == PICTURE
        await fetch_retry(cdn, cdn.at("/b", cut))
        assert cdn.asked == {"/a": 2, "/b": 3}


class TestRetries:
    async def test_two_server_errors_are_retried(self, cdn: FakeCdn) -> None:
        broken = web.Response(status=500)
        with capture_logs() as logs:
            assert await fetch(cdn, cdn.at("/a", broken, broken, web.Response(body=PICTURE))) == PICTURE
        assert cdn.asked == {"/a": 3}
        assert [(line["event"], line["attempt"], line["error"]) for line in logs] == [
            ("download_retried", 1, "127.0.0.1 answered 500"),
            ("download_retried", 2, "127.0.0.1 answered 500"),
        ]

    @pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
    async def test_a_lasting_server_error_is_left_to_the_runner(self, cdn: FakeCdn, status: int) -> None:
        assert (await fetch_retry(cdn, cdn.at("/a", web.Response(status=status)))).after is None
        assert cdn.asked == {"/a": 3}

    async def test_retry_after_is_respected(self, cdn: FakeCdn) -> None:
        busy = web.Response(status=429, headers={"Retry-After": "0.3"})
        began = time.monotonic()
        assert await fetch(cdn, cdn.at("/a", busy, web.Response(body=PICTURE))) == PICTURE
        assert time.monotonic() - began >= 0.3

    @pytest.mark.parametrize("status", [429, 503])
    async def test_a_long_retry_after_is_left_to_the_runner_at_once(self, cdn: FakeCdn, status: int) -> None:
        error = await fetch_retry(cdn, cdn.at("/a", web.Response(status=status, headers={"Retry-After": "31"})))
        assert error.after == 31
        assert cdn.asked == {"/a": 1}

    async def test_retry_after_may_be_a_date(self, cdn: FakeCdn) -> None:
        later = format_datetime(datetime.now(UTC) + timedelta(minutes=10), usegmt=True)
        error = await fetch_retry(cdn, cdn.at("/a", web.Response(status=429, headers={"Retry-After": later})))
        assert error.after is not None
        assert 590 <= error.after <= 600

    @pytest.mark.parametrize(
        ("header", "after"), [("-5", 0), ("1e9", 3600), ("nan", None), ("inf", None), ("soon", None), ("", None)]
    )
    async def test_an_invalid_retry_after_does_no_harm(self, cdn: FakeCdn, header: str, after: float | None) -> None:
        error = await fetch_retry(cdn, cdn.at("/a", web.Response(status=429, headers={"Retry-After": header})))
        assert error.after == after

    async def test_a_server_that_sends_nothing_times_out(self, cdn: FakeCdn) -> None:
        async def silent(_: web.Request) -> web.StreamResponse:
            await asyncio.Event().wait()
            raise AssertionError

        error = await fetch_retry(cdn, cdn.at("/a", silent), policy=DownloadPolicy(read_s=0.3, total_s=60, first_wait_s=0.001))
        assert "took too long" in str(error)
        assert cdn.asked == {"/a": 3}

    async def test_a_server_that_sends_too_slowly_times_out(self, cdn: FakeCdn) -> None:
        async def drip(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse()
            await response.prepare(request)
            while True:
                await response.write(b"x")
                await asyncio.sleep(0.02)

        error = await fetch_retry(cdn, cdn.at("/a", drip), policy=DownloadPolicy(read_s=10, total_s=0.3, first_wait_s=0.001))
        assert "took too long" in str(error)
        assert cdn.asked == {"/a": 3}

    async def test_a_refused_connection_is_retried(self, cdn: FakeCdn) -> None:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            origin = f"http://127.0.0.1:{unused.getsockname()[1]}"
            await fetch_retry(cdn, DiscordFile(url=f"{origin}/a?hm=secret"), origins=[origin])

    async def test_a_server_without_http_is_retried(self, cdn: FakeCdn) -> None:
        async def babble(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"220 mail.example ESMTP\r\n" * 20)
            writer.close()

        async with await asyncio.start_server(babble, "127.0.0.1", 0) as server:
            origin = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            error = await fetch_retry(cdn, DiscordFile(url=f"{origin}/a?hm=secret"), origins=[origin])
        assert "secret" not in str(error)


class TestExpiry:
    @pytest.mark.parametrize("status", [403, 404])
    async def test_an_expired_url_is_refreshed_once(self, cdn: FakeCdn, status: int) -> None:
        cdn.at("/fresh", web.Response(body=PICTURE))
        assert await fetch(cdn, cdn.at("/old", web.Response(status=status)), f"{cdn.origin}/fresh") == PICTURE
        assert cdn.asked == {"/old": 1, "/fresh": 1}

    async def test_the_url_of_the_same_file_is_refreshed(self, cdn: FakeCdn) -> None:
        asked: list[DiscordFile] = []

        async def fresh_url(file: DiscordFile) -> None:
            asked.append(file)

        file = cdn.at("/old", web.Response(status=403))
        assert await fetch_rejection(cdn, file, fresh_url=fresh_url) is RejectCode.GONE
        assert asked == [file]

    @pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 204, 304])
    async def test_without_a_fresh_url_the_file_is_gone(self, cdn: FakeCdn, status: int) -> None:
        assert await fetch_rejection(cdn, cdn.at("/old", web.Response(status=status))) is RejectCode.GONE
        assert await fetch_rejection(cdn, cdn.file("/old"), fresh_url=None) is RejectCode.GONE
        assert cdn.asked == {"/old": 2}

    async def test_a_fresh_url_that_is_refused_means_the_file_is_gone(self, cdn: FakeCdn) -> None:
        cdn.at("/fresh", web.Response(status=403))
        assert await fetch_rejection(cdn, cdn.at("/old", web.Response(status=403)), f"{cdn.origin}/fresh") is RejectCode.GONE
        assert cdn.asked == {"/old": 1, "/fresh": 1}

    async def test_a_fresh_url_must_be_on_the_list_too(self, cdn: FakeCdn, stranger: FakeCdn) -> None:
        file = cdn.at("/old", web.Response(status=403))
        assert await fetch_rejection(cdn, file, f"{stranger.origin}/map.png") is RejectCode.NOT_ALLOWED
        assert stranger.asked == {}

    async def test_a_fresh_url_has_its_own_attempts(self, cdn: FakeCdn) -> None:
        broken = web.Response(status=500)
        cdn.at("/fresh", broken, broken, web.Response(body=PICTURE))
        assert await fetch(cdn, cdn.at("/old", web.Response(status=403)), f"{cdn.origin}/fresh") == PICTURE
