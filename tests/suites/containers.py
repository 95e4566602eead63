"""What the container files say: docker-compose.yml, Dockerfile and .env.example, parsed."""

import re
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "Dockerfile"
COMPOSE_FILE = ROOT / "docker-compose.yml"

_VARIABLE = re.compile(r"\$\{(\w+)")
_FROM = re.compile(r"FROM (\S+) AS (\S+)")
_SETTING = re.compile(r"^(\w+)=(.*)$", re.MULTILINE)


def compose() -> dict[str, Any]:
    """docker-compose.yml with its anchors merged, and its variables as they are written."""
    parsed: dict[str, Any] = yaml.safe_load(COMPOSE_FILE.read_text())
    return parsed


def services() -> dict[str, dict[str, Any]]:
    """The services by name."""
    found: dict[str, dict[str, Any]] = compose()["services"]
    return found


def own_services() -> dict[str, dict[str, Any]]:
    """Those that run MapSeek: the ones that are built here."""
    return {name: service for name, service in services().items() if "build" in service}


def interpolated() -> set[str]:
    """The variables that docker-compose.yml takes from the environment or .env."""
    text = "\n".join(line for line in COMPOSE_FILE.read_text().splitlines() if not line.lstrip().startswith("#"))
    return set(_VARIABLE.findall(text)) | {arg for service in own_services().values() for arg in service["build"].get("args", [])}


def example_settings() -> dict[str, str]:
    """The names and values in .env.example."""
    return dict(_SETTING.findall((ROOT / ".env.example").read_text()))


def dockerfile_stages() -> dict[str, tuple[str, list[str]]]:
    """The stages of the Dockerfile by name: what each is made from, and its instructions, with continued lines joined."""
    stages: dict[str, tuple[str, list[str]]] = {}
    for line in DOCKERFILE.read_text().replace("\\\n", "").splitlines():
        if start := _FROM.fullmatch(line):
            base, name = start.groups()
            instructions: list[str] = []
            stages[name] = (base, instructions)
        elif line and not line.startswith("#"):
            instructions.append(line)
    return stages


def base_images() -> set[str]:
    """The images outside the Dockerfile that its stages are made from."""
    stages = dockerfile_stages()
    return {base for base, _ in stages.values() if base not in stages}


def instructions_of(target: str) -> list[str]:
    """What holds for an image: the instructions of its stage and of those that it is made from, oldest first."""
    stages = dockerfile_stages()
    base, own = stages[target]
    return [*(instructions_of(base) if base in stages else []), *own]
