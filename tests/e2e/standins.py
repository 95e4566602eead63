"""Builds local stand-ins for the pinned images, for test machines that cannot pull them: `python -m tests.e2e.standins`.

Run it as root on Debian with debootstrap, against an engine of your own (DOCKER_HOST). The stand-ins carry the real images' names,
so nothing that exists is replaced. nats is the real server from its wheel, python is Debian's, and MongoDB is replaced by the
wire-protocol double nx-27017. Packages come from where pip and apt find them on this machine; inside the images pip finds only
these.
"""

import os
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

from tests.support.containers import ROOT, list_base_images, list_missing_images, list_services, missing_engine_reason

RECIPE = Path(__file__).with_name("standins.Dockerfile")
DEBIAN = "bookworm"


def main() -> None:
    """Build the missing stand-ins and print the next step."""
    if missing := missing_engine_reason():
        sys.exit(f"Stand-ins cannot be made: {missing}.")
    [python] = list_base_images()
    names = {"python": python, "nats": list_services()["nats"]["image"], "mongodb": list_services()["mongodb"]["image"]}
    absent = list_missing_images(list(names.values()))
    if absent:
        with tempfile.TemporaryDirectory() as folder:
            _import_root(Path(folder) / "root")
            for target, name in names.items():
                if name in absent:
                    build = ["build", "--file", str(RECIPE), "--target", target, "--tag", name, str(_empty(folder))]
                    # The classic builder looks for `root` only in the engine.
                    subprocess.run(["docker", *build], check=True, env={**os.environ, "DOCKER_BUILDKIT": "0"})
    print(f"Made: {', '.join(absent) or 'nothing, all are here'}. Next: docker compose build.")


def _import_root(root: Path) -> None:
    """Import a minimal Debian, with Python and every wheel that the images need, as the image `root`."""
    include = "--include=python3,python3-venv,busybox,ca-certificates"
    subprocess.run(["debootstrap", "--variant=minbase", include, DEBIAN, str(root)], check=True)
    wheels = root / "opt" / "wheels"
    wheels.mkdir(parents=True)
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--constraint", str(ROOT / "constraints.txt"), "--dest", str(wheels)]
    subprocess.run([*pip, *_requirements()], check=True)
    with subprocess.Popen(["tar", "--directory", str(root), "--create", "."], stdout=subprocess.PIPE) as tar:
        subprocess.run(["docker", "import", "-", "root"], stdin=tar.stdout, check=True)
    if tar.returncode != 0:
        sys.exit("tar could not read the new root file system.")


def _requirements() -> list[str]:
    described = tomllib.loads((ROOT / "pyproject.toml").read_text())
    project = described["project"]
    return [
        *project["dependencies"],
        *project["optional-dependencies"]["embed"],
        *described["build-system"]["requires"],
        "nx-27017",
    ]


def _empty(folder: str) -> Path:
    context = Path(folder) / "context"
    context.mkdir(exist_ok=True)
    return context


if __name__ == "__main__":
    main()
