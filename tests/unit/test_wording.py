"""The message files: they parse, every language has the same messages and variables, and the code uses exactly these messages."""

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
MAX_DESCRIPTION_LENGTH = 100
"""The limit for commands and options. Their names are shorter."""
MAX_LABEL_LENGTH = 80


class References(visitor.Visitor):
    """The variables of a message and the other messages that it refers to."""

    def __init__(self) -> None:
        self.variables: set[str] = set()
        self.messages: set[str] = set()

    def visit_VariableReference(self, node: ftl.VariableReference) -> None:
        self.variables.add(node.id.name)

    def visit_MessageReference(self, node: ftl.MessageReference) -> None:
        self.messages.add(node.id.name)


def parse_entries(file: Path) -> list[ftl.EntryType]:
    return list(FluentResource(file.read_text(encoding="utf-8")).body)


@cache
def read_messages(language: str) -> dict[str, References]:
    """Return what each message of a language refers to, by message id."""
    found = {}
    for entry in (entry for file in sorted((LOCALE_FOLDER / language).glob("*.ftl")) for entry in parse_entries(file)):
        if isinstance(entry, ftl.Message):
            references = References()
            references.visit(entry)
            found[entry.id.name] = references
    return found


def list_names(file: Path) -> list[str]:
    return [entry.id.name for entry in parse_entries(file) if isinstance(entry, ftl.Message | ftl.Term)]


class CodeUsage(ast.NodeVisitor):
    """What the code uses: ids given to `localize` and `localize_all`, patterns of ids from f-strings, and every string."""

    def __init__(self) -> None:
        self.messages: set[str] = set()
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
            self.add_message(node.args[place])
        if name == "localize_all" and node.args and isinstance(node.args[0], ast.Constant):
            self.localized.add(node.args[0].value)
        self.generic_visit(node)

    def add_message(self, node: ast.expr) -> None:
        match node:
            case ast.Constant(value=str(message)):
                self.messages.add(message)
            case ast.IfExp(body=one, orelse=other):
                self.add_message(one)
                self.add_message(other)
            case ast.JoinedStr(values=parts):
                self.patterns.add("".join(re.escape(part.value) if isinstance(part, ast.Constant) else ".+" for part in parts))


@cache
def read_code() -> CodeUsage:
    found = CodeUsage()
    for file in CODE.rglob("*.py"):
        found.visit(ast.parse(file.read_text(encoding="utf-8")))
    return found


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}-{file.stem}")
def test_every_message_file_parses(file: Path) -> None:
    assert [entry.content for entry in parse_entries(file) if isinstance(entry, ftl.Junk)] == []
    assert [
        entry.id.name for entry in parse_entries(file) if isinstance(entry, ftl.Message) and (entry.attributes or not entry.value)
    ] == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_message_is_defined_twice(language: str) -> None:
    count = Counter(name for file in (LOCALE_FOLDER / language).glob("*.ftl") for name in list_names(file))
    assert [name for name, times in count.items() if times > 1] == []


def test_every_language_has_the_same_files_messages_and_variables() -> None:
    assert {folder.name for folder in LOCALE_FOLDER.iterdir()} == set(LANGUAGES)
    english = {file.name: sorted(list_names(file)) for file in (LOCALE_FOLDER / "en").glob("*.ftl")}
    for language in LANGUAGES:
        assert {file.name: sorted(list_names(file)) for file in (LOCALE_FOLDER / language).glob("*.ftl")} == english
        for message, references in read_messages("en").items():
            assert read_messages(language)[message].variables == references.variables, f"{message} in {language}"


def test_every_message_that_the_code_uses_exists() -> None:
    areas = "|".join(file.stem for file in FILES)
    likely = {text for text in read_code().strings if re.fullmatch(rf"({areas})(-[a-z0-9]+)+", text)}
    assert (read_code().messages | likely) - set(read_messages("en")) == set()
    for pattern in read_code().patterns:
        assert any(re.fullmatch(pattern, message) for message in read_messages("en")), pattern


def test_every_message_is_used_in_the_code() -> None:
    referred = {message for references in read_messages("en").values() for message in references.messages}
    unused = set(read_messages("en")) - read_code().messages - read_code().strings - referred
    assert {message for message in unused if not any(re.fullmatch(pattern, message) for pattern in read_code().patterns)} == set()


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_message_can_be_formatted(language: str) -> None:
    for message, references in read_messages(language).items():
        for value in (1, 2, 1_000_000, "text"):
            text = localize(language, message, **dict.fromkeys(references.variables, value))
            assert text.strip() == text != ""


@pytest.mark.parametrize(
    ("locale", "language"),
    [("de", "de"), ("en-US", "en"), ("en-GB", "en"), ("pt-BR", "en"), ("ja", "en"), ("", "en"), ("../de", "en")],
)
def test_each_locale_has_a_language(locale: str, language: str) -> None:
    assert choose_language(locale) == language


@pytest.mark.parametrize("locale", list(disnake.Locale))
def test_discords_locale_objects_are_accepted(locale: disnake.Locale) -> None:
    assert choose_language(locale) == choose_language(str(locale))
    assert str(locale) in {str(each) for locales in LANGUAGES.values() for each in locales} or choose_language(locale) == "en"


def test_command_names_and_descriptions_fit_discords_limit() -> None:
    for message in read_code().localized:
        translated = localize_all(message)
        texts = [translated.string, *(translated.localizations.data or {}).values()]
        assert all(0 < len(text) <= MAX_DESCRIPTION_LENGTH for text in texts), message


def test_button_labels_fit_discords_limit() -> None:
    for language in LANGUAGES:
        for message, references in read_messages(language).items():
            if "-button-" in message and message != "asking-button-unknown":
                assert len(localize(language, message, **dict.fromkeys(references.variables, 1_000_000))) <= MAX_LABEL_LENGTH, (
                    message
                )


@pytest.mark.parametrize(("language", "before"), [("en", r"\d%"), ("de", "\\d\u00a0%")])
def test_percentages_follow_the_rules_of_the_language(language: str, before: str) -> None:
    texts = [
        localize(language, message, **dict.fromkeys(references.variables, 7))
        for message, references in read_messages(language).items()
    ]
    with_percent = [text for text in texts if "%" in text]
    assert len(with_percent) >= 5
    assert [text for text in with_percent if len(re.findall(before, text)) != text.count("%")] == []


@pytest.mark.parametrize(
    ("locale", "rate", "text"),
    [
        ("en", 0, "Less than 1 message per second"),
        ("en", 1, "1 message per second"),
        ("en", 2, "2 messages per second"),
        ("de", 0, "Weniger als 1 Nachricht pro Sekunde"),
        ("de", 1, "1 Nachricht pro Sekunde"),
        ("de", 2, "2 Nachrichten pro Sekunde"),
    ],
)
def test_the_pace_of_a_backfill_has_the_right_plural(locale: str, rate: int, text: str) -> None:
    assert localize(locale, "archive-backfill-pace", rate=rate, left="x").startswith(f"{text}, ")


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
def sheep_messages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Replace the message files by two small ones."""
    for language, text in {"en": ENGLISH, "de": GERMAN}.items():
        (tmp_path / language).mkdir()
        (tmp_path / language / "test.ftl").write_text(text, encoding="utf-8")
    monkeypatch.setattr(wording, "LOCALE_FOLDER", tmp_path)
    monkeypatch.setattr(wording, "LANGUAGES", {language: LANGUAGES[language] for language in ("en", "de")})
    wording._bundle.cache_clear()
    yield
    wording._bundle.cache_clear()


@pytest.mark.usefixtures("sheep_messages")
class TestLocalize:
    @pytest.mark.parametrize(
        ("locale", "count", "text"),
        [
            ("en-US", 1, "one sheep"),
            ("en-US", 0, "0 sheep"),
            ("en-US", 1234567, "1,234,567 sheep"),
            ("de", 1, "ein Schaf"),
            ("de", 1234567, "1.234.567 Schafe"),
        ],
    )
    def test_plurals_and_numbers_follow_the_language(self, locale: str, count: int, text: str) -> None:
        assert localize(locale, "sheep", count=count) == text

    def test_values_are_inserted_unchanged(self) -> None:
        assert localize("en", "name", name='{ $count } "x" \n<@1> 1234567') == 'Name: { $count } "x" \n<@1> 1234567'

    @pytest.mark.parametrize(("locale", "message"), [("en", "wolf"), ("de", "name"), ("en", "term"), ("en", "-term")])
    def test_a_missing_message_raises_an_error(self, locale: str, message: str) -> None:
        with pytest.raises(KeyError, match=message):
            localize(locale, message, name="x")

    def test_a_missing_value_raises_an_error(self) -> None:
        with pytest.raises(ValueError, match="name cannot be formatted"):
            localize("en", "name")

    def test_a_command_has_its_name_in_every_language(self) -> None:
        named = localize_all("find")
        assert (named.string, named.localizations.data) == ("find", {"en-US": "find", "en-GB": "find", "de": "finde"})
        with pytest.raises(ValueError, match="sheep"):
            localize_all("sheep")
