"""The catalogues are whole: they parse, both languages say the same things with the same values, and code and catalogues agree."""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import disnake
import pytest
from fluent.runtime import FluentResource
from fluent.syntax import ast as ftl
from fluent.syntax import visitor

from infra.discord import wording
from infra.discord.wording import LANGUAGES, LOCALE_FOLDER, choose_language, localize, localize_all

CODE = LOCALE_FOLDER.parent
FILES = sorted(LOCALE_FOLDER.rglob("*.ftl"))
LONGEST_DESCRIPTION = 100
"""Of a command or an option; their names are shorter still."""
LONGEST_LABEL = 80


class Values(visitor.Visitor):
    """The variables and the other messages that a message is made with."""

    def __init__(self) -> None:
        self.variables: set[str] = set()
        self.messages: set[str] = set()

    def visit_VariableReference(self, node: ftl.VariableReference) -> None:
        self.variables.add(node.id.name)

    def visit_MessageReference(self, node: ftl.MessageReference) -> None:
        self.messages.add(node.id.name)


def entries(file: Path) -> list[ftl.EntryType]:
    return list(FluentResource(file.read_text(encoding="utf-8")).body)


@cache
def catalogue(language: str) -> dict[str, Values]:
    """What each message of a language needs, by id."""
    found = {}
    for entry in (entry for file in sorted((LOCALE_FOLDER / language).glob("*.ftl")) for entry in entries(file)):
        if isinstance(entry, ftl.Message):
            values = Values()
            values.visit(entry)
            found[entry.id.name] = values
    return found


def names(file: Path) -> list[str]:
    return [entry.id.name for entry in entries(file) if isinstance(entry, ftl.Message | ftl.Term)]


class Code(ast.NodeVisitor):
    """What the code uses: ids given to `localize` and `localize_all`, patterns of ids that are put together, and every string."""

    def __init__(self) -> None:
        self.said: set[str] = set()
        self.localized: set[str] = set()
        self.patterns: set[str] = set()
        self.strings: set[str] = set()

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, str):
            self.strings.add(node.value)

    def visit_Call(self, node: ast.Call) -> None:
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        place = {"localize": 1, "localize_all": 0}.get(name)
        if place is not None and len(node.args) > place:
            self.message(node.args[place])
        if name == "localize_all" and node.args and isinstance(node.args[0], ast.Constant):
            self.localized.add(node.args[0].value)
        self.generic_visit(node)

    def message(self, node: ast.expr) -> None:
        match node:
            case ast.Constant(value=str(message)):
                self.said.add(message)
            case ast.IfExp(body=one, orelse=other):
                self.message(one)
                self.message(other)
            case ast.JoinedStr(values=parts):
                self.patterns.add("".join(re.escape(part.value) if isinstance(part, ast.Constant) else ".+" for part in parts))


@cache
def code() -> Code:
    found = Code()
    for file in CODE.rglob("*.py"):
        found.visit(ast.parse(file.read_text(encoding="utf-8")))
    return found


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}-{file.stem}")
def test_every_catalogue_parses(file: Path) -> None:
    assert [entry.content for entry in entries(file) if isinstance(entry, ftl.Junk)] == []
    assert [
        entry.id.name for entry in entries(file) if isinstance(entry, ftl.Message) and (entry.attributes or not entry.value)
    ] == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_message_is_written_twice(language: str) -> None:
    count = Counter(name for file in (LOCALE_FOLDER / language).glob("*.ftl") for name in names(file))
    assert [name for name, times in count.items() if times > 1] == []


def test_every_language_has_the_same_files_messages_and_values() -> None:
    assert {folder.name for folder in LOCALE_FOLDER.iterdir()} == set(LANGUAGES)
    english = {file.name: sorted(names(file)) for file in (LOCALE_FOLDER / "en").glob("*.ftl")}
    for language in LANGUAGES:
        assert {file.name: sorted(names(file)) for file in (LOCALE_FOLDER / language).glob("*.ftl")} == english
        for message, values in catalogue("en").items():
            assert catalogue(language)[message].variables == values.variables, f"{message} in {language}"


def test_every_message_that_the_code_says_is_there() -> None:
    areas = "|".join(file.stem for file in FILES)
    likely = {text for text in code().strings if re.fullmatch(rf"({areas})(-[a-z0-9]+)+", text)}
    assert (code().said | likely) - set(catalogue("en")) == set()
    for pattern in code().patterns:
        assert any(re.fullmatch(pattern, message) for message in catalogue("en")), pattern


def test_every_message_is_said_somewhere() -> None:
    referred = {message for values in catalogue("en").values() for message in values.messages}
    unsaid = set(catalogue("en")) - code().said - code().strings - referred
    assert {message for message in unsaid if not any(re.fullmatch(pattern, message) for pattern in code().patterns)} == set()


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_message_can_be_worded(language: str) -> None:
    for message, values in catalogue(language).items():
        for value in (1, 2, 1_000_000, "text"):
            said = localize(language, message, **dict.fromkeys(values.variables, value))
            assert said.strip() == said != ""


@pytest.mark.parametrize(
    ("locale", "language"),
    [("de", "de"), ("en-US", "en"), ("en-GB", "en"), ("pt-BR", "en"), ("ja", "en"), ("", "en"), ("../de", "en")],
)
def test_every_locale_reads_a_language(locale: str, language: str) -> None:
    assert choose_language(locale) == language


@pytest.mark.parametrize("locale", list(disnake.Locale))
def test_discords_own_locales_are_taken_too(locale: disnake.Locale) -> None:
    assert choose_language(locale) == choose_language(str(locale))
    assert str(locale) in {str(each) for locales in LANGUAGES.values() for each in locales} or choose_language(locale) == "en"


def test_what_commands_are_called_fits_discord() -> None:
    for message in code().localized:
        translated = localize_all(message)
        texts = [translated.string, *(translated.localizations.data or {}).values()]
        assert all(0 < len(text) <= LONGEST_DESCRIPTION for text in texts), message


def test_what_buttons_are_called_fits_discord() -> None:
    for language in LANGUAGES:
        for message, values in catalogue(language).items():
            if "-button-" in message and message != "asking-button-unknown":
                assert len(localize(language, message, **dict.fromkeys(values.variables, 1_000_000))) <= LONGEST_LABEL, message


@pytest.mark.parametrize(("language", "before"), [("en", r"\d%"), ("de", "\\d\u00a0%")])
def test_percentages_are_written_as_the_language_writes_them(language: str, before: str) -> None:
    said = [localize(language, message, **dict.fromkeys(values.variables, 7)) for message, values in catalogue(language).items()]
    with_percent = [text for text in said if "%" in text]
    assert len(with_percent) >= 5
    assert [text for text in with_percent if len(re.findall(before, text)) != text.count("%")] == []


@pytest.mark.parametrize(
    ("locale", "rate", "said"),
    [
        ("en", 0, "Less than 1 message per second"),
        ("en", 1, "1 message per second"),
        ("en", 2, "2 messages per second"),
        ("de", 0, "Weniger als 1 Nachricht pro Sekunde"),
        ("de", 1, "1 Nachricht pro Sekunde"),
        ("de", 2, "2 Nachrichten pro Sekunde"),
    ],
)
def test_the_pace_of_archiving_older_posts_is_counted(locale: str, rate: int, said: str) -> None:
    assert localize(locale, "archive-backfill-pace", rate=rate, left="x").startswith(f"{said}, ")


ENGLISH = """
sheep = { $count ->
    [one] one sheep
   *[other] { $count } sheep
 }
name = Name: { $name }
-term = x
find = find
"""
GERMAN = """
sheep = { $count ->
    [one] ein Schaf
   *[other] { $count } Schafe
 }
find = finde
"""


@pytest.fixture
def sheep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Two small catalogues of our own."""
    for language, text in {"en": ENGLISH, "de": GERMAN}.items():
        (tmp_path / language).mkdir()
        (tmp_path / language / "test.ftl").write_text(text, encoding="utf-8")
    monkeypatch.setattr(wording, "LOCALE_FOLDER", tmp_path)
    monkeypatch.setattr(wording, "LANGUAGES", {language: LANGUAGES[language] for language in ("en", "de")})
    wording._bundle.cache_clear()
    yield
    wording._bundle.cache_clear()


@pytest.mark.usefixtures("sheep")
class TestSaying:
    @pytest.mark.parametrize(
        ("locale", "count", "said"),
        [
            ("en-US", 1, "one sheep"),
            ("en-US", 0, "0 sheep"),
            ("en-US", 1234567, "1,234,567 sheep"),
            ("de", 1, "ein Schaf"),
            ("de", 1234567, "1.234.567 Schafe"),
        ],
    )
    def test_plurals_and_numbers(self, locale: str, count: int, said: str) -> None:
        assert localize(locale, "sheep", count=count) == said

    def test_values_are_shown_as_they_are(self) -> None:
        assert localize("en", "name", name='{ $count } "x" \n<@1> 1234567') == 'Name: { $count } "x" \n<@1> 1234567'

    @pytest.mark.parametrize(("locale", "message"), [("en", "wolf"), ("de", "name"), ("en", "term"), ("en", "-term")])
    def test_a_message_that_is_not_there_is_a_mistake(self, locale: str, message: str) -> None:
        with pytest.raises(KeyError, match=message):
            localize(locale, message, name="x")

    def test_a_value_left_out_is_a_mistake(self) -> None:
        with pytest.raises(ValueError, match="name cannot be formatted"):
            localize("en", "name")

    def test_a_command_is_named_in_every_language(self) -> None:
        named = localize_all("find")
        assert (named.string, named.localizations.data) == ("find", {"en-US": "find", "en-GB": "find", "de": "finde"})
        with pytest.raises(ValueError, match="sheep"):
            localize_all("sheep")
