"""Log servers with a configuration of the test, and certificates for them."""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import orjson

from infra.nats.server import find_server_program
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


@asynccontextmanager
async def run_log_server(folder: Path, configuration: str, environment: Mapping[str, str] | None = None) -> AsyncIterator[str]:
    """Run nats-server with JetStream on a free port, and yield its URL. Its log is `server.log` in the folder."""
    file = folder / "elsewhere.conf"
    file.write_text(
        f'{configuration}\nports_file_dir: "{folder}"\njetstream {{ store_dir: "{folder / "store"}" }}\nmax_payload: 8MB\n'
    )
    with (folder / "server.log").open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            find_server_program(), "-c", str(file), "-a", "127.0.0.1", "-p", "-1", stdout=output, stderr=output, env=environment
        )
    ports = folder / f"nats-server_{process.pid}.ports"
    try:
        await eventually(lambda: (ports.exists() and bool(ports.read_bytes())) or process.returncode is not None)
        assert process.returncode is None, (folder / "server.log").read_text()
        url = str(orjson.loads(ports.read_bytes())["nats"][0])
        yield url.replace("tls://", "nats://")
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()
