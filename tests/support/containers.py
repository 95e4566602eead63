"""Parses docker-compose.yml, Dockerfile and .env.example, and runs Docker for tests."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "Dockerfile"

_VARIABLE = re.compile(r"\$\{(\w+)")
_FROM = re.compile(r"FROM (\S+) AS (\S+)")
_SETTING = re.compile(r"^(\w+)=(.*)$", re.MULTILINE)

PACKAGES = ("contracts", "infra", "pipeline", "stages")

FINGERPRINT = """
import hashlib, pathlib, sys
root, sha = pathlib.Path(sys.argv[1]), hashlib.sha256()
for package in sys.argv[2:]:
    for path in sorted((root / package).rglob('*.py')):
        sha.update(str(path.relative_to(root)).encode() + path.read_bytes())
print(sha.hexdigest())
"""
"""A program that prints one digest of all modules of some packages.

It is run here and inside an image, to compare the two.
"""


COMPOSE_FILE = ROOT / "docker-compose.yml"


def read_compose() -> dict[str, Any]:
    """Read docker-compose.yml, with merged anchors and unexpanded variables."""
    parsed: dict[str, Any] = yaml.safe_load(COMPOSE_FILE.read_text())
    return parsed


def list_services() -> dict[str, dict[str, Any]]:
    """Return the services by name."""
    found: dict[str, dict[str, Any]] = read_compose()["services"]
    return found


def list_own_services() -> dict[str, dict[str, Any]]:
    """Return the services that run MapSeek, which are those built here."""
    return {name: service for name, service in list_services().items() if "build" in service}


def list_working_services() -> dict[str, dict[str, Any]]:
    """Return our services that run without end: not those that run a command and end."""
    return {name: service for name, service in list_own_services().items() if service["restart"] != "no"}


def list_compose_variables() -> set[str]:
    """Return the variables that docker-compose.yml reads from the environment or .env."""
    text = "\n".join(line for line in COMPOSE_FILE.read_text().splitlines() if not line.lstrip().startswith("#"))
    return set(_VARIABLE.findall(text)) | {
        arg for service in list_own_services().values() for arg in service["build"].get("args", [])
    }


def read_example_settings() -> dict[str, str]:
    """Read the names and values in .env.example."""
    return dict(_SETTING.findall((ROOT / ".env.example").read_text()))


def read_dockerfile_stages() -> dict[str, tuple[str, list[str]]]:
    """Read the stages of the Dockerfile by name: the base image, and the instructions with continued lines joined."""
    stages: dict[str, tuple[str, list[str]]] = {}
    for line in DOCKERFILE.read_text().replace("\\\n", "").splitlines():
        if start := _FROM.fullmatch(line):
            base, name = start.groups()
            instructions: list[str] = []
            stages[name] = (base, instructions)
        elif line and not line.startswith("#"):
            instructions.append(line)
    return stages


def list_base_images() -> set[str]:
    """Return the images outside the Dockerfile that its stages are based on."""
    stages = read_dockerfile_stages()
    return {base for base, _ in stages.values() if base not in stages}


def list_instructions(target: str) -> list[str]:
    """Return the instructions of an image: those of its stage and of the stages that it is based on, oldest first."""
    stages = read_dockerfile_stages()
    base, own = stages[target]
    return [*(list_instructions(base) if base in stages else []), *own]


def run_docker(*arguments: str, timeout: float = 60) -> str:
    """Run a docker command and return its output. Raises CalledProcessError and TimeoutExpired."""
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=True, timeout=timeout)
    return done.stdout.strip()


def missing_engine_reason() -> str | None:
    """Return what is missing of Docker here, None if an engine responds and Compose is installed."""
    if shutil.which("docker") is None:
        return "the docker command is not installed"
    try:
        run_docker("version", "--format", "{{.Server.Version}}", timeout=10)
    except (subprocess.SubprocessError, OSError):
        return "no Docker engine answers `docker version`"
    return None if _compose_command() else "neither `docker compose` nor `docker-compose` is installed"


def list_missing_images(names: Sequence[str]) -> list[str]:
    """Return the images that the engine does not have."""
    here = set(run_docker("images", "--format", "{{.Repository}}:{{.Tag}}").splitlines())
    return sorted(set(names) - here)


def is_standin(image: str) -> bool:
    """Whether an image was made by tests/e2e/standins.py."""
    labels = json.loads(run_docker("image", "inspect", image, "--format", "{{json .Config.Labels}}")) or {}
    return "mapseek.standin" in labels


def list_stale_images(images: Sequence[str]) -> list[str]:
    """Return the MapSeek images whose code differs from this checkout."""
    ours = subprocess.run(
        [sys.executable, "-c", FINGERPRINT, str(ROOT), *PACKAGES], capture_output=True, text=True, check=True
    ).stdout.strip()
    place = "/opt/mapseek/lib/python3.11/site-packages"
    inside = ("python", "-c", FINGERPRINT, place, *PACKAGES)
    return [
        image for image in sorted(set(images)) if run_docker("run", "--rm", "--entrypoint", inside[0], image, *inside[1:]) != ours
    ]


def find_host_address(image: str) -> str:
    """Return the address at which containers of a bridge network reach this machine, as a container of the image sees it."""
    routes = run_docker("run", "--rm", "--entrypoint", "cat", image, "/proc/net/route").splitlines()
    gateway = next(route.split()[2] for route in routes if route.split()[1] == "00000000")
    return socket.inet_ntoa(int(gateway, 16).to_bytes(4, "little"))


@dataclass(frozen=True, slots=True)
class Project:
    """A compose project with its own name."""

    command: tuple[str, ...]
    name: str
    environment: Mapping[str, str]

    def compose(self, *arguments: str, timeout: float = 240) -> str:
        """Run a compose command on the project. If it fails, the test fails with its output."""
        done = subprocess.run(
            [*self.command, *arguments], capture_output=True, text=True, timeout=timeout, env=dict(self.environment), cwd=ROOT
        )
        if done.returncode != 0:
            raise AssertionError(f"compose {' '.join(arguments)} failed:\n{done.stdout}\n{done.stderr}")
        return done.stdout

    def containers(self, inspected: str) -> dict[str, str]:
        """Return a field of each container by its name, including stopped containers.

        `inspected` is a template of `docker inspect`.
        """
        ids = run_docker("ps", "--all", "--quiet", "--filter", f"label=com.docker.compose.project={self.name}").split()
        lines = run_docker("inspect", "--format", "{{.Name}} " + inspected, *ids).splitlines() if ids else []
        return {name.removeprefix(f"/{self.name}").strip("-_"): value for name, _, value in (line.partition(" ") for line in lines)}

    def logs(self) -> str:
        """Return the end of every container's log."""
        return self.compose("logs", "--no-color", "--tail", "30")


@contextmanager
def compose_project(name: str, files: Sequence[Path], variables: Mapping[str, str], folder: Path) -> Iterator[Project]:
    """Create a project of files with only the given variables. Its containers, volumes and networks are removed at the end."""
    env_file = folder / "compose.env"
    env_file.write_text("".join(f"{key}={value}\n" for key, value in variables.items()))
    chosen = [part for file in files for part in ("--file", str(file))]
    # A variable of the developer's shell would override the file.
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("MAPSEEK_", "MONGODB_", "DISCORD_"))}
    command = (*_compose_command(), "--project-name", name, "--env-file", str(env_file), *chosen)
    project = Project(command, name, environment)
    try:
        yield project
    finally:
        project.compose("down", "--volumes", "--timeout", "5")


def _compose_command() -> tuple[str, ...]:
    for command in (("docker", "compose"), ("docker-compose",)):
        if shutil.which(command[0]) and subprocess.run([*command, "version"], capture_output=True).returncode == 0:
            return command
    return ()
