"""The shape of the product tree in figures, and the names that need a reason: `make tree`.

docs/architecture.md says why a figure is above its target.
"""

import ast
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import grimp

ROOT = Path(__file__).parents[1]
PACKAGES = ("contracts", "stages", "infra", "pipeline")
SHORT = 40
"""A file with fewer lines is short."""

_STAGE_PART = "each stage has one; the engine knows them by this name"
_ADAPTER_PAIR = "two adapters of one port"
_INDEX_PAIR = "the vector index and the feature index have one interface"
_SAME_ALIAS = "the same type alias, beside the functions that use it"

SHARED_NAMES: Mapping[str, str] = {
    "Bytes": _SAME_ALIAS,
    "Deps": _STAGE_PART,
    "Float64s": _SAME_ALIAS,
    "Floats": _SAME_ALIAS,
    "JsonOption": "each cli.py declares its own options",
    "Manifest": _INDEX_PAIR,
    "NO_CHANNEL": _INDEX_PAIR,
    "Pixels": _SAME_ALIAS,
    "RECORDS_PER_PAGE": _ADAPTER_PAIR,
    "REPLACEMENT_SUFFIX": _ADAPTER_PAIR,
    "Rgb": _SAME_ALIAS,
    "SPOILER_PREFIX": "the simulator shares no code with what it tests",
    "STAGE": _STAGE_PART,
    "SavedShard": _INDEX_PAIR,
    "SlashInteraction": _SAME_ALIAS,
    "T": "a type variable",
    "compute_digest": _INDEX_PAIR,
    "handle": _STAGE_PART,
    "load": _INDEX_PAIR,
    "log": "each module's logger",
    "read_page": _ADAPTER_PAIR,
    "read_saved_images": _INDEX_PAIR,
    "save": _INDEX_PAIR,
    "translate_outages": "one for each driver: it turns the driver's errors into Unavailable",
}
"""Why a public name may be defined in several modules: it means the same in each."""

ING_NAMES: Mapping[str, str] = {
    "BlobMissing": "an adjective",
    "DEFAULT_PREPROCESSING": "the name of a stage",
    "LOADING": "the name of Discord's message flag",
    "MAX_ACK_PENDING": "the name of JetStream's limit",
    "configure_logging": "a word of the trade",
    "keep_saving": "a verb in the form that keep needs",
    "missing": "an adjective",
    "pending": "JetStream's word",
    "ping": "the name of a request",
    "preprocessing": "the name of a field of facts",
    "run_everything": "a pronoun",
    "serve_monitoring": "a word of the trade",
    "sleep_unless_stopping": "a state: the process is stopping",
    "split_missing": "an adjective",
    "stopping": "a state: the process is stopping",
    "waiting": "a state of messages and fetches",
    "workers_waiting": "a state of workers",
}
"""Why a public name may end in -ing."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure: its name, its value, the maximum that it should have, and the items that it counts."""

    name: str
    value: int
    target: int
    found: tuple[str, ...]


def measure_tree() -> list[Figure]:
    """Compute the figures of the tree on disk."""
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
    """Find groups of modules that import each other, directly or indirectly, imports inside functions included."""
    graph = grimp.build_graph(*PACKAGES, cache_dir=None)
    cycles = {
        group
        for module in graph.modules
        if len(group := frozenset(graph.find_downstream_modules(module) & graph.find_upstream_modules(module) | {module})) > 1
    }
    return sorted(cycles, key=sorted)


def find_shared_names() -> dict[str, list[str]]:
    """Return each public name that two or more modules define, with those modules."""
    places: dict[str, list[str]] = defaultdict(list)
    for path, tree in _parse_modules():
        for name in {name for node in tree.body for name in _list_defined_names(node)}:
            places[name].append(path)
    return {name: found for name, found in sorted(places.items()) if len(found) > 1 and not name.startswith("_")}


def find_ing_names() -> dict[str, list[str]]:
    """Return each public name whose last word ends in -ing, of modules and of classes, with the modules that define it."""
    places: dict[str, list[str]] = defaultdict(list)
    for path, tree in _parse_modules():
        bodies = [tree.body, *(node.body for node in ast.walk(tree) if isinstance(node, ast.ClassDef))]
        for name in {name for body in bodies for node in body for name in _list_defined_names(node)}:
            if re.search(r"ing$", name, re.IGNORECASE) and not name.startswith("_"):
                places[name].append(path)
    return dict(sorted(places.items()))


def _parse_modules() -> Iterator[tuple[str, ast.Module]]:
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            yield str(path.relative_to(ROOT)), ast.parse(path.read_text())


def _list_defined_names(node: ast.stmt) -> list[str]:
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [target.id for target in targets if isinstance(target, ast.Name)]


def main() -> None:
    """Print the figures, what is behind those above their target, and the names that need a reason with their reasons."""
    for figure in measure_tree():
        print(f"{figure.name:34}{figure.value:5}   target: at most {figure.target}")
        if figure.value > figure.target:
            print(*(f"    {each}" for each in figure.found), sep="\n")
    _print_names("public names that several modules define", find_shared_names(), SHARED_NAMES)
    _print_names("public names in -ing", find_ing_names(), ING_NAMES)


def _print_names(title: str, found: Mapping[str, list[str]], reasons: Mapping[str, str]) -> None:
    print(f"{title}: {len(found)}")
    for name, places in found.items():
        print(f"    {name} ({len(places)}): {reasons.get(name, 'no reason: rename it, or give one in tests/tree.py')}")


if __name__ == "__main__":
    main()
