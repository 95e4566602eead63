"""Log servers with a configuration of the test, and certificates for them."""

import asyncio
import base64
import os
import subprocess
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import nkeys
import orjson
import pytest

from infra.nats import server
from infra.nats.connection import LogAddress
from infra.nats.server import find_server_program
from pipeline.engine.roles import build_server_config, list_roles
from tests.support.waiting import eventually


@dataclass(frozen=True, slots=True)
class Certificates:
    """Files of a certificate for 127.0.0.1 with its key, and of the authority that vouches for it."""

    ca: Path
    certificate: Path
    key: Path


def make_certificates(folder: Path) -> Certificates:
    """Make an authority and a certificate of it that is right for servers and clients."""
    made = Certificates(folder / "ca.pem", folder / "cert.pem", folder / "key.pem")
    authority_key, request, extensions = folder / "ca-key.pem", folder / "request.pem", folder / "extensions"
    extensions.write_text("subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n")
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    for arguments in (
        ("req", "-x509", *key, "-keyout", authority_key, "-out", made.ca, "-subj", "/CN=test authority", "-days", "2"),
        ("req", *key, "-keyout", made.key, "-out", request, "-subj", "/CN=test server"),
        (
            "x509",
            "-req",
            "-in",
            request,
            "-CA",
            made.ca,
            "-CAkey",
            authority_key,
            "-CAcreateserial",
            "-out",
            made.certificate,
            "-days",
            "2",
            "-extfile",
            extensions,
        ),
    ):
        subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)
    return made


def make_creds(folder: Path) -> tuple[str, Path]:
    """Make an operator, an account and a user. Return the configuration of a server that trusts them, and the .creds file."""
    operator, operator_key = _make_key(nkeys.PREFIX_BYTE_OPERATOR)
    account, account_key = _make_key(nkeys.PREFIX_BYTE_ACCOUNT)
    _, system_key = _make_key(nkeys.PREFIX_BYTE_ACCOUNT)
    user, user_key = _make_key(nkeys.PREFIX_BYTE_USER)
    limits = {"subs": -1, "conn": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": True, "leaf": -1}
    storage = {"mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1}
    operator_jwt = _sign(operator, operator_key, operator_key, {"type": "operator", "version": 2})
    account_jwt = _sign(operator, operator_key, account_key, {"type": "account", "version": 2, "limits": limits | storage})
    system_jwt = _sign(operator, operator_key, system_key, {"type": "account", "version": 2, "limits": limits})
    user_jwt = _sign(account, account_key, user_key, {"type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1})
    creds = folder / "user.creds"
    creds.write_text(
        f"-----BEGIN NATS USER JWT-----\n{user_jwt}\n------END NATS USER JWT------\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{user.decode()}\n------END USER NKEY SEED------\n"
    )
    accounts = f"{account_key}: {account_jwt}, {system_key}: {system_jwt}"
    return (
        f"operator: {operator_jwt}\nsystem_account: {system_key}\nresolver: MEMORY\nresolver_preload: {{ {accounts} }}\n",
        creds,
    )


def _make_key(kind: int) -> tuple[bytes, str]:
    seed = nkeys.encode_seed(os.urandom(32), kind)
    return seed, nkeys.from_seed(bytearray(seed)).public_key.decode()


def _sign(issuer: bytes, issuer_key: str, subject: str, claims: Mapping[str, object]) -> str:
    """Return the JWT in which an issuer says something about the owner of a key."""
    body = {"jti": subject, "iat": int(time.time()), "iss": issuer_key, "name": "test", "sub": subject, "nats": claims}
    parts = [base64.urlsafe_b64encode(orjson.dumps(part)).rstrip(b"=") for part in ({"typ": "JWT", "alg": "ed25519-nkey"}, body)]
    signature = nkeys.from_seed(bytearray(issuer)).sign(b".".join(parts))
    return b".".join([*parts, base64.urlsafe_b64encode(signature).rstrip(b"=")]).decode()


def kill_servers_at_the_end(patch: pytest.MonkeyPatch) -> None:
    """From now on, end embedded servers at once: a log that is thrown away need not wait for nats-server to stop."""

    async def kill(process: asyncio.subprocess.Process) -> None:
        if process.returncode is None:
            process.kill()
        await process.wait()

    patch.setattr(server, "_stop", kill)


@asynccontextmanager
async def run_log_server(folder: Path, configuration: str) -> AsyncIterator[str]:
    """Run nats-server with JetStream on a free port, and yield its URL. Its log is `server.log` in the folder."""
    common = f'listen: "127.0.0.1:-1"\njetstream {{ store_dir: "{folder / "store"}" }}\nmax_payload: 8MB\n'
    async with _run_server(folder, common + configuration, {}) as url:
        yield url


@dataclass(frozen=True, slots=True)
class RoleServer:
    """A log server with a user for each role, and their passwords."""

    url: str
    log: Path
    passwords: Mapping[str, str]

    def get_address(self, role: str) -> LogAddress:
        return LogAddress(self.url, role, self.passwords[role])

    def list_violations(self) -> list[str]:
        """Return what the server refused, as its log has it."""
        return [line for line in self.log.read_text().splitlines() if "Violation" in line]


AWKWARD_PASSWORDS = ("12e5", "true", "5m", "$HOME", "a#b", "a//b", "{x}", "[x]", "a:b", "x y", "'", "-", "2a$11$x")
"""Passwords that the server would read as another value, or not at all, if they stood there without quotes."""


@asynccontextmanager
async def run_role_server(folder: Path) -> AsyncIterator[RoleServer]:
    """Run a log server with the configuration that `mapseek topology server-config` prints, but with its files in the folder."""
    roles = list_roles()
    passwords = {role.name: password for role, password in zip(roles, AWKWARD_PASSWORDS, strict=True)}
    configuration = build_server_config()
    for text, here in (
        ('listen: "0.0.0.0:4222"', 'listen: "127.0.0.1:-1"'),
        ('http: "127.0.0.1:8222"', ""),
        ('store_dir: "/data"', f'store_dir: "{folder / "store"}"'),
    ):
        assert configuration.count(text) == 1
        configuration = configuration.replace(text, here)
    environment = {role.password_variable: f'"{passwords[role.name]}"' for role in roles}
    async with _run_server(folder, configuration, environment) as url:
        yield RoleServer(url, folder / "server.log", passwords)


@asynccontextmanager
async def _run_server(folder: Path, configuration: str, environment: Mapping[str, str]) -> AsyncIterator[str]:
    file = folder / "elsewhere.conf"
    file.write_text(f'{configuration}\nports_file_dir: "{folder}"\n')
    with (folder / "server.log").open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            find_server_program(), "-c", str(file), stdout=output, stderr=output, env=environment
        )
    ports = folder / f"nats-server_{process.pid}.ports"
    try:
        await eventually(lambda: (ports.exists() and ports.read_bytes()) or process.returncode is not None)
        assert process.returncode is None, (folder / "server.log").read_text()
        yield str(orjson.loads(ports.read_bytes())["nats"][0]).replace("tls://", "nats://")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
