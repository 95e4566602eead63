"""The shape of the product tree in six figures: `make tree`. docs/architecture.md says why one is above its target."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import grimp

ROOT = Path(__file__).parents[1]
PACKAGES = ("contracts", "stages", "infra", "pipeline")
SHORT = 40
"""Lines below which a file is short."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure: what it counts, how much there is, how much there should be at most, and what is counted."""

    name: str
    value: int
    target: int
    found: tuple[str, ...]


def measure_tree() -> list[Figure]:
    """The figures of the tree as it is on disk."""
    files = [path.relative_to(ROOT) for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
    modules = [path for path in files if path.name != "__init__.py"]
    short = [f"{path} ({lines})" for path in modules if (lines := len((ROOT / path).read_text().splitlines())) < SHORT]
    doing = [str(path) for path in modules if path.stem.endswith("ing")]
    names = Counter(path.name for path in modules)
    shared = [f"{name} ({number})" for name, number in names.most_common() if number > 1]
    cycles = find_import_cycles()
    folders = Counter(str(path.parent) for path in modules).most_common()
    return [
        Figure("product files (without __init__)", len(modules), 240, ()),
        Figure(f"under {SHORT} lines", len(short), 10, tuple(short)),
        Figure("names ending in -ing", len(doing), 10, tuple(doing)),
        Figure("base names used twice or more", len(shared), 22, tuple(shared)),
        Figure("import cycles", len(cycles), 0, tuple(" <-> ".join(sorted(cycle)) for cycle in cycles)),
        Figure("widest folder", folders[0][1], 16, tuple(f"{folder} ({number})" for folder, number in folders if number > 16)),
    ]


def find_import_cycles() -> list[frozenset[str]]:
    """Groups of modules that import each other, directly or through others, imports inside functions included."""
    graph = grimp.build_graph(*PACKAGES, cache_dir=None)
    cycles = {
        group
        for module in graph.modules
        if len(group := frozenset(graph.find_downstream_modules(module) & graph.find_upstream_modules(module) | {module})) > 1
    }
    return sorted(cycles, key=sorted)


def main() -> None:
    """Print the figures, and what is behind those that are above their target."""
    for figure in measure_tree():
        print(f"{figure.name:34}{figure.value:5}   target: at most {figure.target}")
        if figure.value > figure.target:
            print(*(f"    {each}" for each in figure.found), sep="\n")


if __name__ == "__main__":
    main()
