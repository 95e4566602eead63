"""The README and the other documents are true: settings, commands, make targets, links, paths and code that exist."""

import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from pipeline.demo.cli import demo_command
from pipeline.demo.script import PIECE_COUNT, list_demo_queries
from pipeline.main import app
from pipeline.settings import Settings
from tests.support.openapi import DOCUMENT_VARIABLE

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
SETTINGS = (ROOT / "docs/operating/settings.md").read_text()
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
FOLDERS = ("contracts", "stages", "infra", "pipeline", "tests", "docs", ".github")

DOCUMENTS = sorted([*ROOT.glob("*.md"), *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.md"))])

DEFINED_TESTS = {name for path in (ROOT / "tests").rglob("*.py") for name in re.findall(r"\bdef (test_\w+)\(", path.read_text())}

every_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))

GIVEN_BY_TYPER = {"--help", "--install-completion", "--show-completion"}

BLOCK = re.compile(r"^ *```(\w*)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)


def environment_name(field: str) -> str:
    alias = Settings.model_fields[field].validation_alias
    return f"MAPSEEK_{field.upper()}" if alias is None else alias.choices[-1]  # type: ignore[union-attr, return-value]


def shown_default(field: str) -> str:
    default = Settings.model_fields[field].get_default()
    return "" if default is None or default == frozenset() else f"`{default:g}`" if isinstance(default, float) else f"`{default}`"


def prose(document: Path) -> str:
    """A document without its blocks of code."""
    return BLOCK.sub("", document.read_text())


def code(document: Path) -> Iterator[str]:
    """What is quoted as code in a document: `like this`, and each line of a block for a shell."""
    yield from (" ".join(quoted.split()) for quoted in re.findall(r"`([^`]+)`", prose(document)))
    for language, block in BLOCK.findall(document.read_text()):
        if language in ("sh", "console"):
            yield from (line.strip().removeprefix("$ ") for line in block.splitlines())


def links(text: str) -> list[str]:
    """The targets in the repository of the links and pictures of a text, as Markdown and as HTML writes them."""
    markdown = re.findall(r"\]\((?!https?:)([^)]+)\)", text)
    return markdown + re.findall(r'\b(?:href|src|srcset)="(?!https?:)([^"]+)"', text)


def anchors(document: Path) -> set[str]:
    """The anchors that GitHub gives to the headings of a document."""
    headings = re.findall(r"^#+ (.+)$", prose(document), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in headings}


def unknown_in(text: str) -> str | None:
    """The first word of `mapseek ... --option` that is no command and no option, None if there is none."""
    found: Any = typer.main.get_command(app)
    words = iter(re.split(r"\s+#", text)[0].replace("|", " ").split()[1:])
    for word in words:
        options = {option: parameter for parameter in found.params for option in parameter.opts}
        below = getattr(found, "commands", {})
        if word.startswith("--"):
            if word not in options and word not in GIVEN_BY_TYPER:
                return word
            if word in options and not options[word].is_flag:
                next(words, None)
        elif word in below:
            found = below[word]
        elif below and re.fullmatch(r"[a-z-]+", word):
            return word
    return None


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= 250


def test_every_setting_is_in_the_table_with_its_default() -> None:
    rows = dict(re.findall(r"^\| `([A-Z_]+)` \| ?(.*?) ?\|", SETTINGS, re.MULTILINE))
    expected = {environment_name(field): shown_default(field) for field in Settings.model_fields}
    expected["MAPSEEK_DATA_DIR"] = "user data folder"
    assert rows == expected


@every_document
def test_every_setting_that_is_named_exists(document: Path) -> None:
    named = set(re.findall(r"\b(?:MAPSEEK|MONGODB)_[A-Z_]+\b", document.read_text()))
    assert named - {environment_name(field) for field in Settings.model_fields} - {DOCUMENT_VARIABLE} == set()


@every_document
def test_every_mapseek_command_and_option_in_it_exists(document: Path) -> None:
    commands = [text for text in code(document) if re.match(r"mapseek [a-z-]", text)]
    assert {command: unknown for command in commands if (unknown := unknown_in(command))} == {}


def test_a_command_or_an_option_that_does_not_exist_is_found() -> None:
    assert unknown_in("mapseek failures list --stage embed") is None
    assert unknown_in("mapseek replay --name g3") is None
    assert unknown_in("mapseek replay pause g2") is None
    assert unknown_in("mapseek remake") == "remake"
    assert unknown_in("mapseek failures forget") == "forget"
    assert unknown_in("mapseek trace ID --colour") == "--colour"


@every_document
def test_every_link_into_the_repository_leads_somewhere(document: Path) -> None:
    dead = []
    for link in links(prose(document)):
        path, _, anchor = link.partition("#")
        target = (document.parent / path).resolve() if path else document
        if not target.is_relative_to(ROOT) or not target.exists() or (anchor and anchor not in anchors(target)):
            dead.append(link)
    assert dead == []


def test_links_are_found_in_markdown_and_in_html() -> None:
    picture = '<picture><source media="(dark)" srcset="docs/b.png"><img alt="x" src="docs/a.png" width="4"></picture>'
    text = f'[A](docs/c.md#there) ![B](docs/d.png) [C](https://d.org) {picture} <a href="e.md"><img src="https://d.org/f.png"></a>'
    assert links(text) == ["docs/c.md#there", "docs/d.png", "docs/b.png", "docs/a.png", "e.md"]


def test_every_picture_of_the_readme_is_there_in_both_themes() -> None:
    pictures = re.findall(
        r'srcset="docs/images/([\w-]+)-dark\.png"><img alt="[^"]+" src="docs/images/([\w-]+)\.png" width="\d+">', README
    )
    assert pictures
    assert all(dark == light for dark, light in pictures)
    assert len(pictures) == README.count("docs/images/") / 2


@every_document
def test_every_make_target_in_it_exists(document: Path) -> None:
    makefile = (ROOT / "Makefile").read_text()
    for text in code(document):
        if target := re.match(r"make ([a-z./-]+)", text):
            assert re.search(rf"^{re.escape(target[1])}:", makefile, re.MULTILINE), text


def test_what_is_said_of_the_demo_has_its_numbers() -> None:
    for text in (README, (ROOT / "CHANGELOG.md").read_text(), demo_command.__doc__ or ""):
        assert set(re.findall(r"(\d+) pieces.*?(\d+) (?:questions|queries|searches)", text)) == {
            (str(PIECE_COUNT), str(len(list_demo_queries())))
        }


def test_every_decision_is_in_the_index_with_its_title() -> None:
    index = (ROOT / "docs/adr/README.md").read_text()
    for record in (ROOT / "docs/adr").glob("0*.md"):
        number, title = re.match(r"# (\d+)\. (.+)", record.read_text()).groups()  # type: ignore[union-attr]
        assert f"| {number} | [{title}]({record.name}) |" in index


class TestContributing:
    """The recipes of CONTRIBUTING.md. What a recipe makes is named in the first line of its block, and is not looked for."""

    blocks = tuple(block for language, block in BLOCK.findall(CONTRIBUTING) if language == "python")
    new_files = frozenset(
        path for block in blocks for path in re.findall(r"\A# ([\w/.]+\.py)$", block, re.MULTILINE) if not (ROOT / path).exists()
    )
    new_names = frozenset(name for block in blocks for name in re.findall(r"^(?:class|async def|def) (\w+)", block, re.MULTILINE))

    def test_every_import_finds_its_name(self) -> None:
        imports = [found for block in self.blocks for found in re.findall(r"^ *from ([\w.]+) import (.+)$", block, re.MULTILINE)]
        assert imports
        unknown = [
            f"{module}.{name}"
            for module, names in imports
            if f"{module.replace('.', '/')}.py" not in self.new_files
            for name in names.split(", ")
            if name not in self.new_names and not hasattr(importlib.import_module(module), name)
        ]
        assert unknown == []

    @pytest.mark.parametrize("document", [ROOT / "CONTRIBUTING.md", ROOT / "docs/architecture.md"], ids=lambda path: path.name)
    def test_every_path_exists(self, document: Path) -> None:
        quoted = [text for text in code(document) if re.fullmatch(rf"(?:{'|'.join(FOLDERS)})/[\w/.-]+", text)]
        assert quoted
        new = {str(parent) for path in self.new_files for parent in (Path(path), *Path(path).parents)}
        assert [
            path for path in quoted if not (ROOT / path).exists() and path.rstrip("/") not in new | {"infra/discord/locale/fr"}
        ] == []


class TestGitHub:
    """The files that GitHub reads."""

    def test_the_workflow_runs_what_ci_runs(self) -> None:
        workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
        assert workflow["permissions"] == {"contents": "read"}
        [job] = workflow["jobs"].values()
        assert [step["run"] for step in job["steps"] if "run" in step] == [".ci/run"]
        assert all(re.fullmatch(r"actions/[a-z-]+@v\d+", step["uses"]) for step in job["steps"] if "uses" in step)

    @pytest.mark.parametrize("form", ["bug", "feature", "missed_match"])
    def test_a_form_is_one_that_github_takes(self, form: str) -> None:
        content = yaml.safe_load((ROOT / f".github/ISSUE_TEMPLATE/{form}.yml").read_text())
        assert content["name"]
        assert content["description"]
        fields = [field for field in content["body"] if field["type"] != "markdown"]
        assert fields
        assert len({field["id"] for field in fields}) == len(fields)
        for field in content["body"]:
            assert field["type"] in ("markdown", "textarea", "input", "dropdown", "checkboxes")
            assert field["attributes"]["value" if field["type"] == "markdown" else "label"]
            options = field["attributes"].get("options", [])
            assert (field["type"] == "dropdown") == bool(options)
            assert len(set(options)) == len(options)

    def test_every_hook_calls_a_program_of_the_virtual_environment(self) -> None:
        config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
        hooks = [hook for repo in config["repos"] for hook in repo["hooks"]]
        assert {repo["repo"] for repo in config["repos"]} == {"local"}
        assert all(hook["entry"].startswith(".venv/bin/") for hook in hooks)


@every_document
def test_every_test_that_a_document_names_exists(document: Path) -> None:
    assert set(re.findall(r"`(test_\w+)`", document.read_text())) <= DEFINED_TESTS
