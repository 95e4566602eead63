"""A MongoDB server for tests: the one in MONGODB_URI, else a container if its image is local, else a wire-protocol double."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

_GIVEN = os.environ.get("MONGODB_URI")
"""Read before any test begins, because tests remove the developer's own settings from the environment."""

_IMAGES = ("mongodb/mongodb-atlas-local", "mongo")

WITH_SLOW_MONGODB = pytest.mark.parametrize(
    "environment", ["sqlite", pytest.param("mongodb", marks=pytest.mark.slow)], indirect=True
)
"""For a test of ten seconds with a command that works the same on both databases: the one on MongoDB is slow."""


@dataclass(frozen=True)
class MongoServer:
    """The URI of the server, and a description of it. Use a database with a random name: it may be the developer's own server."""

    uri: str
    kind: str


def announce_server(server: MongoServer, config: pytest.Config) -> None:
    """Print which server the tests use, even if output is captured."""
    with config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        print(f"\nMongoDB for these tests: {server.kind}")


@contextmanager
def run_mongo_server(folder: Path) -> Iterator[MongoServer]:
    """Run the best server that is available here. A started server keeps its data in `folder` and is stopped at the end."""
    if _GIVEN:
        yield MongoServer(_GIVEN, "the server in MONGODB_URI")
    elif image := _local_image():
        with _container(image) as server:
            yield server
    else:
        double = MongoDouble(folder)
        double.start()
        try:
            yield MongoServer(double.uri, "the wire-protocol double nx-27017 (no MONGODB_URI, no Docker image at hand)")
        finally:
            double.kill()


class MongoDouble:
    """nx-27017 in its own process, on a free port. Its data folder survives a kill."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def uri(self) -> str:
        return f"mongodb://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        files = ["--data-dir", "data", "--log-file", "log", "--pid-file", "pid"]
        command = [str(Path(sys.executable).with_name("nx-27017")), "--host", "127.0.0.1", "--port", str(self._port), *files]
        output = subprocess.DEVNULL
        self._process = subprocess.Popen(command, cwd=self._folder, stdin=output, stdout=output, stderr=output)
        _wait_until_it_answers(self.uri)

    def kill(self) -> None:
        """Send SIGKILL."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None


def drop_database(uri: str, name: str) -> None:
    """Delete a database that the caller created."""
    with MongoClient[dict[str, Any]](uri, serverSelectionTimeoutMS=5000) as client:
        client.drop_database(name)


def _wait_until_it_answers(uri: str) -> None:
    with MongoClient[dict[str, Any]](uri, serverSelectionTimeoutMS=30_000) as client:
        client.admin.command("ping")


def _local_image() -> str | None:
    """Find a local MongoDB image. Nothing is ever pulled."""
    import docker  # type: ignore[import-untyped]
    from docker.errors import DockerException  # type: ignore[import-untyped]

    with suppress(DockerException):
        client = docker.from_env(timeout=5)
        try:
            tags = [tag for image in client.images.list() for tag in image.tags]
        finally:
            client.close()
        return next((tag for name in _IMAGES for tag in tags if tag.rpartition(":")[0] == name), None)
    return None


@contextmanager
def _container(image: str) -> Iterator[MongoServer]:
    os.environ["TESTCONTAINERS_RYUK_DISABLED"] = "true"  # read at import; its image may not be at hand
    from testcontainers.core.container import DockerContainer

    with DockerContainer(image).with_exposed_ports(27017) as container:
        uri = f"mongodb://{container.get_container_host_ip()}:{container.get_exposed_port(27017)}/?directConnection=true"
        _wait_until_it_answers(uri)
        yield MongoServer(uri, f"the Docker image {image}")
