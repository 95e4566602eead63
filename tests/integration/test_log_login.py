"""Logging in to the log: the key of an embedded server, users of a server elsewhere, TLS, and settings that contradict."""

import asyncio
import os
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import nats
import nkeys
import pytest
import structlog
from nats.errors import Error as NatsError

from contracts.errors import MapSeekError
from infra.nats.connection import LogAddress, connect, redact_password
from infra.nats.server import LOGIN_FILE, embedded_server, read_announced_address
from pipeline.engine import topology
from pipeline.engine.job import Policy, Runtime
from pipeline.engine.metrics import Metrics
from pipeline.engine.registry import STAGES
from pipeline.engine.worker import open_workers
from pipeline.log_address import find_log_address
from pipeline.settings import Settings
from tests.support.log_servers import make_certificates, make_creds, run_log_server
from tests.support.programs import run_to_end

MakeSettings = Callable[..., Settings]

OTHER_SEED = nkeys.encode_seed(bytes(32), nkeys.PREFIX_BYTE_USER)
OTHER_KEY = nkeys.from_seed(bytearray(OTHER_SEED)).public_key.decode()


@pytest.fixture
def wide_umask() -> AsyncIterator[None]:  # type: ignore[misc]
    """A umask that takes nothing away, as some systems have it."""
    before = os.umask(0)
    yield
    os.umask(before)


def read_mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.usefixtures("wide_umask")
async def test_the_key_of_a_folder_is_for_its_owner_alone_and_stays(tmp_path: Path) -> None:
    async with embedded_server(tmp_path):
        assert {name: read_mode(tmp_path / name) for name in (LOGIN_FILE, "server.conf", "server.json")} == {
            LOGIN_FILE: 0o600,
            "server.conf": 0o600,
            "server.json": 0o600,
        }
        seed = (tmp_path / LOGIN_FILE).read_bytes()
    async with embedded_server(tmp_path):
        assert (tmp_path / LOGIN_FILE).read_bytes() == seed


async def test_the_seed_is_in_no_other_file_and_not_on_the_command_line(tmp_path: Path) -> None:
    async with embedded_server(tmp_path) as address:
        client = await connect(address, "test")
        await topology.ensure_topology(client, STAGES)
        await client.close()
        seed = (tmp_path / LOGIN_FILE).read_bytes()
        pid = int((tmp_path / "server.pid").read_text())
        assert seed not in Path(f"/proc/{pid}/cmdline").read_bytes()
        assert seed not in Path(f"/proc/{pid}/environ").read_bytes()
        assert seed.decode() not in f"{address!r} {address}"
        others = [path for path in tmp_path.rglob("*") if path.is_file() and path.name != LOGIN_FILE]
        assert len(others) >= 4
        assert [path for path in others if seed in path.read_bytes()] == []


async def test_a_key_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    async with embedded_server(tmp_path) as address:
        (tmp_path / LOGIN_FILE).rename(tmp_path / "elsewhere")
        with pytest.raises(MapSeekError) as caught:
            await connect(address, "test")
    assert str(caught.value) == (
        f"{tmp_path / LOGIN_FILE} cannot be read (No such file or directory), which proves to the log who you are: "
        "correct its permissions."
    )


async def test_an_old_folder_gets_its_key_at_the_next_start(tmp_path: Path) -> None:
    async with embedded_server(tmp_path) as address:
        client = await connect(address, "test")
        await topology.ensure_topology(client, STAGES)
        await client.close()
    (tmp_path / LOGIN_FILE).unlink()  # as a release without logins left it
    async with embedded_server(tmp_path) as address:
        client = await connect(address, "test")
        assert await topology.find_differences(client, STAGES) == []
        await client.close()


async def test_a_key_that_others_can_read_is_closed_at_the_next_start(tmp_path: Path) -> None:
    async with embedded_server(tmp_path):
        pass
    (tmp_path / LOGIN_FILE).chmod(0o644)
    async with embedded_server(tmp_path):
        assert read_mode(tmp_path / LOGIN_FILE) == 0o600


async def test_a_spoilt_key_is_reported_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / LOGIN_FILE).write_text("no key")
    with pytest.raises(MapSeekError) as caught:
        async with embedded_server(tmp_path):
            pass
    assert str(caught.value) == (f"{tmp_path / LOGIN_FILE} holds no key: make a new one with `mapseek topology rotate-key`.")


@pytest.mark.parametrize(
    "login",
    [
        {},
        {"user": "mapseek", "password": ""},
        {"token": "x"},
        {"nkeys_seed_str": OTHER_SEED.decode()},
    ],
    ids=["nobody", "a name", "a token", "another key"],
)
async def test_whoever_has_no_key_is_not_let_in(tmp_path: Path, login: dict[str, str]) -> None:
    """So nothing can be subscribed, and no JetStream API called."""
    async with embedded_server(tmp_path) as address:
        with pytest.raises(NatsError, match="Authorization Violation"):
            await nats.connect(address.url, allow_reconnect=False, **login)  # type: ignore[arg-type]
        assert (
            await speak_without_login(address, b"SUB > 1\r\nPUB $JS.API.INFO _INBOX.x 0\r\n\r\n")
            == b"-ERR 'Authorization Violation'\r\n"
        )


async def speak_without_login(address: LogAddress, commands: bytes) -> bytes:
    """Send the commands of the protocol without a login, and return what the server says before it closes the connection."""
    host, port = address.url.removeprefix("nats://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    await reader.readline()
    writer.write(b"CONNECT {}\r\n" + commands)
    said = await reader.read()
    writer.close()
    return said


async def test_a_new_key_is_made_while_nothing_runs(tmp_path: Path) -> None:
    folder, environment = tmp_path / "nats", {"MAPSEEK_DATA_DIR": str(tmp_path)}
    async with embedded_server(folder) as old:
        running = await run_to_end("topology", "rotate-key", environment=environment)
        assert (running.code, running.err) == (
            1,
            f"mapseek: Another MapSeek already runs on {tmp_path}: stop it, or set MAPSEEK_DATA_DIR.\n",
        )
        seed = (folder / LOGIN_FILE).read_bytes()
    done = await run_to_end("topology", "rotate-key", environment=environment)
    assert (done.code, done.err) == (0, "")
    assert (folder / LOGIN_FILE).read_bytes() != seed
    assert read_mode(folder / LOGIN_FILE) == 0o600
    stolen = tmp_path / "stolen"
    stolen.write_bytes(seed)
    async with embedded_server(folder) as new:
        await (await connect(new, "test")).close()
        with pytest.raises(MapSeekError, match=f"refuses the NKey in {stolen}: correct MAPSEEK_NATS_NKEY"):
            await connect(LogAddress(new.url, nkey_file=stolen), "test")
    assert old.nkey_file == new.nkey_file


async def test_the_key_of_a_server_elsewhere_is_not_rotated_here(tmp_path: Path) -> None:
    done = await run_to_end(
        "topology", "rotate-key", environment={"MAPSEEK_DATA_DIR": str(tmp_path), "NATS_URL": "nats://127.0.0.1:1"}
    )
    assert (done.code, done.err) == (
        1,
        "mapseek: NATS_URL is set, so the log is on a server elsewhere: change the password there, and then here.\n",
    )


async def test_commands_find_the_server_of_a_folder_and_log_in(tmp_path: Path, settings: MakeSettings) -> None:
    async with embedded_server(tmp_path / "data" / "nats") as address:
        assert find_log_address(settings()) == read_announced_address(tmp_path / "data" / "nats") == address
        done = await run_to_end("topology", "apply", environment={"MAPSEEK_DATA_DIR": str(tmp_path / "data")})
        assert (done.code, done.err) == (0, "")


USERS = "authorization { users: [ { user: alex, password: s3cret }, { nkey: %s } ] }"


@asynccontextmanager
async def open_both_connections(address: LogAddress) -> AsyncIterator[None]:
    """Connect as a process does: once for itself and once for its workers."""
    client = await connect(address, "test")
    await topology.ensure_topology(client, [])
    async with open_workers(address, "test", Runtime(None, Metrics(), Policy()), lambda _consumer: None):  # type: ignore[arg-type]
        yield
    await client.close()


async def test_users_log_in_with_a_password_an_nkey_or_the_url(tmp_path: Path, settings: MakeSettings) -> None:
    seed = tmp_path / "seed"
    seed.write_bytes(nkeys.encode_seed(os.urandom(32), nkeys.PREFIX_BYTE_USER) + b"\n")
    public = nkeys.from_seed(bytearray(seed.read_bytes().strip())).public_key.decode()
    async with run_log_server(tmp_path, USERS % public) as url:
        for login in (
            {"nats_url": url, "nats_user": "alex", "nats_password": "s3cret"},
            {"nats_url": url, "nats_nkey": seed},
            {"nats_url": url, "nats_nkey": seed, "nats_user": "alex"},
            {"nats_url": url.replace("nats://", "nats://alex:s3cret@")},
        ):
            address = find_log_address(settings(**login))
            assert address is not None
            assert "s3cret" not in f"{address} {address!r}"
            async with open_both_connections(address):
                pass


async def test_a_user_logs_in_with_a_creds_file(tmp_path: Path, settings: MakeSettings) -> None:
    configuration, creds = make_creds(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    _, stranger = make_creds(tmp_path / "elsewhere")
    async with run_log_server(tmp_path, configuration) as url:
        address = find_log_address(settings(nats_url=url, nats_creds=creds))
        assert address is not None
        async with open_both_connections(address):
            pass
        with pytest.raises(MapSeekError) as caught:
            await connect(LogAddress(url, creds_file=stranger), "test", timeout=60)
        assert str(caught.value) == f"The NATS server at {url} refuses the credentials in {stranger}: correct MAPSEEK_NATS_CREDS."


async def test_a_refused_login_is_one_sentence_at_once(tmp_path: Path, settings: MakeSettings) -> None:
    seed = tmp_path / "seed"
    seed.write_bytes(nkeys.encode_seed(os.urandom(32), nkeys.PREFIX_BYTE_USER))
    async with run_log_server(tmp_path, "authorization { user: alex, password: s3cret }") as url:
        for login, refused in (
            ({}, "asks who you are: set MAPSEEK_NATS_USER and MAPSEEK_NATS_PASSWORD, MAPSEEK_NATS_NKEY or MAPSEEK_NATS_CREDS"),
            (
                {"nats_user": "alex", "nats_password": "wr0ng"},
                "refuses the user 'alex' with this password: correct MAPSEEK_NATS_USER and MAPSEEK_NATS_PASSWORD",
            ),
            ({"nats_nkey": seed}, f"refuses the NKey in {seed}: correct MAPSEEK_NATS_NKEY, or give the server its public half"),
        ):
            address = find_log_address(settings(nats_url=url, **login))
            assert address is not None
            with pytest.raises(MapSeekError) as caught:
                await asyncio.wait_for(connect(address, "test", timeout=60), 10)
            assert str(caught.value) == f"The NATS server at {url} {refused}."
        with pytest.raises(MapSeekError) as caught:
            await connect(LogAddress(url.replace("//", "//alex:wr0ng@")), "test", timeout=60)
        shown = url.replace("//", "//***@")
        assert str(caught.value) == f"The NATS server at {shown} refuses the user and password in NATS_URL: correct them."


async def test_a_command_that_is_refused_prints_no_secret(tmp_path: Path) -> None:
    async with run_log_server(tmp_path, "authorization { user: alex, password: s3cret }") as url:
        environment = {"NATS_URL": url, "MAPSEEK_NATS_USER": "alex", "MAPSEEK_NATS_PASSWORD": "wr0ng"}
        done = await run_to_end("status", environment=environment)
    assert (done.code, "wr0ng" in done.err + done.out, len(done.err.splitlines())) == (1, False, 1)
    assert "refuses the user 'alex'" in done.err


async def test_a_subject_that_a_user_may_not_use_is_named_in_the_log(tmp_path: Path) -> None:
    denied = '{ user: alex, password: s3cret, permissions: { publish: { deny: ["$JS.API.STREAM.>"] } } }'
    async with run_log_server(tmp_path, f"authorization {{ users: [ {denied} ] }}") as url:
        client = await connect(LogAddress(url, "alex", "s3cret"), "test")
        with structlog.testing.capture_logs() as logs, pytest.raises(MapSeekError) as caught:
            await topology.ensure_topology(client, STAGES)
        await client.close()
    assert str(caught.value) == (
        "The log refuses $js.api.stream.info.images to this user: give it the permissions of its role "
        "(`mapseek topology server-config`)."
    )
    [event] = [entry for entry in logs if entry["event"] == "log_permission_denied"]
    assert (event["operation"], event["subject"]) == ("publish", "$js.api.stream.info.images")


@pytest.mark.parametrize("client_certificate", [False, True])
async def test_a_connection_over_tls(tmp_path: Path, settings: MakeSettings, client_certificate: bool) -> None:
    made = make_certificates(tmp_path)
    verify = f", ca_file: '{made.ca}', verify: true" if client_certificate else ""
    tls = f"tls {{ cert_file: '{made.certificate}', key_file: '{made.key}'{verify} }}"
    own = {"nats_tls_cert": made.certificate, "nats_tls_key": made.key} if client_certificate else {}
    async with run_log_server(
        tmp_path,
        f"{USERS % OTHER_KEY}\n{tls}",
    ) as url:
        url = url.replace("nats://", "tls://")
        address = find_log_address(settings(nats_url=url, nats_user="alex", nats_password="s3cret", nats_tls_ca=made.ca, **own))
        assert address is not None
        async with open_both_connections(address):
            pass
        strange = find_log_address(settings(nats_url=url, nats_user="alex", nats_password="s3cret"))
        assert strange is not None
        with pytest.raises(MapSeekError, match=r"cannot be reached over TLS \(.*\): correct NATS_URL or MAPSEEK_NATS_TLS_CA\.$"):
            await asyncio.wait_for(connect(strange, "test", timeout=60), 10)


@pytest.mark.parametrize("inside_url", [False, True])
async def test_no_password_is_sent_to_a_server_without_tls_if_the_url_asks_for_it(tmp_path: Path, inside_url: bool) -> None:
    heard = asyncio.Queue[bytes]()

    async def pose_as_server(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'INFO {"server_id":"x","version":"2.15.1","headers":true,"max_payload":1048576,"auth_required":true}\r\n')
        heard.put_nowait(await reader.read(10_000))
        writer.close()

    async with await asyncio.start_server(pose_as_server, "127.0.0.1", 0) as posing:
        port = posing.sockets[0].getsockname()[1]
        url = f"tls://{'alex:s3cret@' if inside_url else ''}127.0.0.1:{port}"
        with pytest.raises(MapSeekError, match=r"cannot be reached over TLS \(the server does not offer TLS\)"):
            await connect(LogAddress(url, *(() if inside_url else ("alex", "s3cret"))), "test")
        assert b"s3cret" not in await asyncio.wait_for(heard.get(), 10)


def test_settings_that_cannot_be_used_together_are_one_sentence(tmp_path: Path, settings: MakeSettings) -> None:
    url, file, missing = "nats://127.0.0.1:1", tmp_path / "file", tmp_path / "missing"
    file.write_text("anything")
    creds = tmp_path / "creds"
    creds.write_text("-----BEGIN NATS USER JWT-----\nx.y\n------END NATS USER JWT------\n\n-----BEGIN USER NKEY SEED-----\nSUX\n")
    proofs = "MAPSEEK_NATS_PASSWORD, MAPSEEK_NATS_NKEY or MAPSEEK_NATS_CREDS"
    for given, sentence in (
        (
            {"nats_user": "a", "nats_password": "s3cret"},
            "MAPSEEK_NATS_USER and MAPSEEK_NATS_PASSWORD are set, but NATS_URL is not: set both or none.",
        ),
        ({"nats_tls_ca": file}, "MAPSEEK_NATS_TLS_CA is set, but NATS_URL is not: set both or none."),
        ({"nats_url": url, "nats_user": "a"}, f"MAPSEEK_NATS_USER is set, but nothing proves it: set {proofs}."),
        (
            {"nats_url": url, "nats_password": "s3cret"},
            "MAPSEEK_NATS_PASSWORD is set, but MAPSEEK_NATS_USER is not: set both or none.",
        ),
        (
            {"nats_url": url, "nats_user": "a", "nats_password": "s3cret", "nats_nkey": file},
            "MAPSEEK_NATS_PASSWORD and MAPSEEK_NATS_NKEY are set, but a user has one of them: unset the others.",
        ),
        (
            {"nats_url": "nats://a:s3cret@127.0.0.1:1", "nats_user": "a", "nats_password": "s3cret"},
            "NATS_URL has a user, and MAPSEEK_NATS_PASSWORD is set too: choose one of them.",
        ),
        (
            {"nats_url": url, "nats_nkey": missing},
            f"MAPSEEK_NATS_NKEY names {missing}, which cannot be read (No such file or directory): correct it.",
        ),
        (
            {"nats_url": url, "nats_creds": missing},
            f"MAPSEEK_NATS_CREDS names {missing}, which cannot be read (No such file or directory): correct it.",
        ),
        (
            {"nats_url": url, "nats_nkey": file},
            f"MAPSEEK_NATS_NKEY names {file}, which holds no seed of a user's NKey: it is one line that begins with SU.",
        ),
        (
            {"nats_url": url, "nats_creds": file},
            f"MAPSEEK_NATS_CREDS names {file}, which is no .creds file: `nsc generate creds` writes one.",
        ),
        (
            {"nats_url": url, "nats_creds": creds},
            f"MAPSEEK_NATS_CREDS names {creds}, which is no .creds file: `nsc generate creds` writes one.",
        ),
        ({"nats_url": url, "nats_tls_ca": file}, f"MAPSEEK_NATS_TLS_CA names {file}, which holds no certificate: correct it."),
        (
            {"nats_url": url, "nats_tls_cert": file},
            "Of MAPSEEK_NATS_TLS_CERT and MAPSEEK_NATS_TLS_KEY only one is set: set both or none.",
        ),
        (
            {"nats_url": url, "nats_tls_cert": file, "nats_tls_key": file},
            f"MAPSEEK_NATS_TLS_CERT and MAPSEEK_NATS_TLS_KEY name {file} and {file}, which are no certificate and its "
            "unencrypted key: correct them.",
        ),
        (
            {"nats_url": "nats://a:s3cret@[::1"},
            "NATS_URL is nats://***@[::1, which is no address: it is like nats://localhost:4222.",
        ),
        (
            {"nats_url": "nats://127.0.0.1:99999"},
            "NATS_URL is nats://127.0.0.1:99999, which is no address: it is like nats://localhost:4222.",
        ),
    ):
        with pytest.raises(MapSeekError) as caught:
            find_log_address(settings(**given))
        assert str(caught.value) == sentence


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("nats://localhost:4222", "nats://localhost:4222"),
        ("nats://a:b@localhost:4222", "nats://***@localhost:4222"),
        ("a:b@localhost:4222", "***@localhost:4222"),
        ("tls://token@localhost", "tls://***@localhost"),
        ("nats://a:b/c@d@localhost", "nats://***@localhost"),
        ("nats://a:b@one,nats://c:d@two", "nats://***@two"),
        ("localhost", "localhost"),
    ],
)
def test_an_address_is_shown_without_its_secret(url: str, shown: str) -> None:
    assert redact_password(url) == shown
    assert str(LogAddress(url)) == shown


@pytest.mark.parametrize(
    ("address", "prefix"),
    [
        (LogAddress("nats://localhost"), "_INBOX"),
        (LogAddress("nats://localhost", "gateway", "x"), "_INBOX_gateway"),
        (LogAddress("nats://reply:x@localhost"), "_INBOX_reply"),
        (LogAddress("nats://localhost", "a.b >*", "x"), "_INBOX_a_b___"),
    ],
)
def test_each_user_has_inboxes_of_its_own(address: LogAddress, prefix: str) -> None:
    assert address.inbox_prefix == prefix
