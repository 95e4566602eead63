"""The shape of the tree is what docs/architecture.md says: no figure grows unseen, and every folder has its room on the page."""

import re

from tests.tree import ING_NAMES, PACKAGES, ROOT, SHARED_NAMES, find_import_cycles, find_ing_names, find_shared_names, measure_tree

PAGE = (ROOT / "docs/architecture.md").read_text()


def test_no_figure_is_above_what_the_page_says_and_each_above_its_target_has_a_reason() -> None:
    found = re.findall(r"^\| ([^|]+?) \| (\d+) \| (\d+) \| ?(.*?) ?\|$", PAGE, re.MULTILINE)
    rows = {name: (int(value), int(target), reason) for name, value, target, reason in found}
    for figure in measure_tree():
        value, target, reason = rows.pop(figure.name)
        assert figure.value <= value, f"more than docs/architecture.md says of {figure.name}: {figure.found}"
        assert target == figure.target
        assert value <= target or reason, figure.name
    assert rows == {}


def test_no_modules_import_each_other() -> None:
    assert find_import_cycles() == []


def test_a_public_name_that_several_modules_define_has_a_reason() -> None:
    assert find_shared_names().keys() == SHARED_NAMES.keys()


def test_a_public_name_in_ing_has_a_reason() -> None:
    assert find_ing_names().keys() == ING_NAMES.keys()


def test_every_folder_of_the_product_is_on_the_page() -> None:
    modules = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py") if path.name != "__init__.py"]
    folders = {str(path.parent.relative_to(ROOT)) for path in modules}
    named = re.findall(r"`([a-z_/]+)/`", PAGE)
    assert {folder for folder in folders if not any(f"/{room}/" in f"/{folder}/" for room in named)} == set()
