"""The wheel, as hatchling builds it: all that the packages need at work, and what an owner sets up beside them."""

import zipfile
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

ROOT = Path(__file__).parents[2]
PACKAGES = ("contracts", "stages", "infra", "pipeline")


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Every file in it."""
    folder = tmp_path_factory.mktemp("wheel")
    [wheel] = WheelBuilder(str(ROOT)).build(directory=str(folder), versions=["standard"])
    return set(zipfile.ZipFile(wheel).namelist())


def test_it_carries_every_file_of_the_packages_and_nothing_else(names: set[str]) -> None:
    files = (file for package in PACKAGES for file in (ROOT / package).rglob("*") if file.is_file())
    there = {str(file.relative_to(ROOT)) for file in files if "__pycache__" not in file.parts}
    assert {name for name in names if ".dist-info/" not in name} == there


def test_it_carries_what_watches_it(names: set[str]) -> None:
    assert {"infra/ops/alerts.yml", "infra/ops/prometheus.yml", "infra/ops/grafana/dashboards/mapseek.json"} <= names
