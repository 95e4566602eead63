"""The wheel that hatchling builds has all files of the packages, including those for monitoring."""

import zipfile
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

ROOT = Path(__file__).parents[2]
PACKAGES = ("contracts", "stages", "infra", "pipeline")


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The names of all files in the wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    [wheel] = WheelBuilder(str(ROOT)).build(directory=str(folder), versions=["standard"])
    return set(zipfile.ZipFile(wheel).namelist())


def test_the_wheel_has_every_file_of_the_packages_and_nothing_else(names: set[str]) -> None:
    files = (file for package in PACKAGES for file in (ROOT / package).rglob("*") if file.is_file())
    there = {str(file.relative_to(ROOT)) for file in files if "__pycache__" not in file.parts}
    assert {name for name in names if ".dist-info/" not in name} == there


def test_the_wheel_has_the_files_for_monitoring(names: set[str]) -> None:
    assert {"infra/ops/alerts.yml", "infra/ops/prometheus.yml", "infra/ops/grafana/dashboards/mapseek.json"} <= names
