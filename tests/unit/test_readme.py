"""The README tells the truth: every setting with its default, every folder, and no command that does not exist."""

import re
from pathlib import Path

from pipeline.demo.cli import demo_command
from pipeline.demo.script import PIECE_COUNT, list_demo_queries
from pipeline.main import app
from pipeline.settings import Settings

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
SETTINGS = (ROOT / "docs/operating/settings.md").read_text()


def environment_name(field: str) -> str:
    alias = Settings.model_fields[field].validation_alias
    return f"MAPSEEK_{field.upper()}" if alias is None else alias.choices[-1]  # type: ignore[union-attr, return-value]


def shown_default(field: str) -> str:
    default = Settings.model_fields[field].get_default()
    return "" if default is None or default == frozenset() else f"`{default:g}`" if isinstance(default, float) else f"`{default}`"


def test_every_setting_is_in_the_table_with_its_default() -> None:
    rows = dict(re.findall(r"^\| `([A-Z_]+)` \| ?(.*?) ?\|", SETTINGS, re.MULTILINE))
    expected = {environment_name(field): shown_default(field) for field in Settings.model_fields}
    expected["MAPSEEK_DATA_DIR"] = "user data folder"
    assert rows == expected


def test_every_mapseek_command_in_it_exists() -> None:
    commands = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    groups = {group.name for group in app.registered_groups}
    named = set(re.findall(r"`mapseek ([a-z]+)|^\s*(?:\$ )?mapseek ([a-z]+)", README, re.MULTILINE))
    assert {first or second for first, second in named} <= commands | {name for name in groups if name}


def test_every_link_into_the_repository_leads_somewhere() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_every_make_target_in_it_exists() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"`make ([a-z-]+)`|^make ([a-z-]+)", README, re.MULTILINE):
        assert re.search(rf"^{target[0] or target[1]}:", makefile, re.MULTILINE)


def test_what_is_said_of_the_demo_has_its_numbers() -> None:
    for text in (README, (ROOT / "CHANGELOG.md").read_text(), demo_command.__doc__ or ""):
        assert set(re.findall(r"(\d+) pieces.*?(\d+) (?:questions|searches)", text)) == {
            (str(PIECE_COUNT), str(len(list_demo_queries())))
        }
