"""Text from outside (names of files and members, reasons, headers) made fit to be shown, and fit to be recorded."""

import json
import re
import unicodedata

ZERO_WIDTH_NON_JOINER, ZERO_WIDTH_JOINER = "\u200c", "\u200d"
MONGOLIAN_VOWEL_SEPARATOR = "\u180e"
VIRAMA = 9
"""The combining class of the marks that take the vowel from a consonant of India and its neighbours."""

_FLAG_OR_CHARACTER = re.compile("\U0001f3f4[\U000e0030-\U000e0039\U000e0061-\U000e007a]{3,6}\U000e007f|.", re.DOTALL)
"""The flag of a part of a country, such as Scotland, is one black flag and the tags of its code; else a single character."""

_SURROGATE = re.compile("[\ud800-\udfff]")
_NOT_PLAIN_ASCII = re.compile(r"[^\n -~]")
_SHORT_ESCAPES = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}
_HIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Control and format characters, surrogates, and the separators of lines and paragraphs."""

_VISIBLE_FORMATS = re.compile("[\u0600-\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd\U00013430-\U0001343f]")
"""Format characters that are seen: signs before numbers in Arabic, Syriac and Kaithi, and how hieroglyphs are grouped."""

_INVISIBLE = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u2065\u2800\u3164\ufdd0-\ufdef\uffa0\ufff0-\ufff8\U000e0000-\U000e0fff]")
"""Fillers and blanks that Unicode counts as letters or symbols, what no font shows, and numbers that are no characters."""

_VARIATIONS = re.compile("[\u180b-\u180d\u180f\ufe00-\ufe0f\U000e0100-\U000e01ef]")
"""Selectors of the form of the character before: an emoji in colour, a variant of an ideograph."""

_VARIED = re.compile("[#*0-9\u203c\u2049\u3030]")
"""Characters that are no letters or symbols, and yet have a form as an emoji."""


def escape_controls(text: str) -> str:
    r"""Return a text in which nothing is hidden and nothing can change how the rest is shown.

    Escaped are control characters (ESC is `\x1b`, a newline `\n`), marks that turn the direction of text (`\u202e`), characters
    without a width where they do not belong, and what UTF-8 cannot hold (the byte 0xFF of a file name is `\xff`). Names in any
    language and emoji stay as they are, and so does a text that is escaped already.
    """
    if text.isascii() and text.isprintable():
        return text
    shown = ""
    for found in _FLAG_OR_CHARACTER.finditer(text):
        part = found[0]
        after = text[found.end() : found.end() + 1]
        shown += part if len(part) > 1 or _is_shown(part, shown, after) else _escape_character(part)
    return shown


def escape_lines(text: str) -> str:
    """Return a text of several lines, such as a traceback, with each line escaped."""
    return "\n".join(map(escape_controls, text.split("\n")))


def replace_surrogates(text: str) -> str:
    r"""Return a text that UTF-8 can hold: a byte of a file name that is not UTF-8 becomes `\xff`, half a character `\ud83d`."""
    return _SURROGATE.sub(lambda found: _escape_character(found[0]), text)


def escape_json(document: str) -> str:
    r"""Return a JSON document in plain ASCII: `\u202e` in its strings means the same, and every terminal and encoding bears it."""
    return _NOT_PLAIN_ASCII.sub(lambda found: json.dumps(found[0])[1:-1] if found[0] != "\x7f" else r"\u007f", document)


def _escape_character(character: str) -> str:
    number = ord(character)
    if 0xDC80 <= number <= 0xDCFF:  # how Python keeps a byte of a file name that is not UTF-8
        number -= 0xDC00
    if number <= 0xFF:
        return _SHORT_ESCAPES.get(character, f"\\x{number:02x}")
    return f"\\u{number:04x}" if number <= 0xFFFF else f"\\U{number:08x}"


def _is_shown(character: str, before: str, after: str) -> bool:
    """Tell whether a character is seen, or changes the form of a neighbour as its script or an emoji needs it."""
    if _VARIATIONS.match(character):
        return bool(before) and _has_variations(before[-1], character)
    if character in (ZERO_WIDTH_NON_JOINER, ZERO_WIDTH_JOINER):
        return bool(before) and bool(after) and not _is_hidden(after) and _joins(character, before, after)
    if character == MONGOLIAN_VOWEL_SEPARATOR:
        return bool(before) and bool(after) and all("\u1820" <= each <= "\u1878" for each in (before[-1], after))
    return not _is_hidden(character)


def _is_hidden(character: str) -> bool:
    is_control = unicodedata.category(character) in _HIDDEN_CATEGORIES and not _VISIBLE_FORMATS.match(character)
    return is_control or bool(_INVISIBLE.match(character)) or ord(character) & 0xFFFE == 0xFFFE


def _has_variations(character: str, selector: str) -> bool:
    is_symbol = not character.isascii() and unicodedata.category(character) in ("So", "Sm", "Lo")
    return is_symbol or (selector in "\ufe0e\ufe0f" and bool(_VARIED.match(character)))


def _joins(joiner: str, before: str, after: str) -> bool:
    """Tell whether a joiner stands where it shapes what is seen: the rules of RFC 5892 for scripts, and emoji."""
    is_virama = VIRAMA in (unicodedata.combining(before[-1]), unicodedata.combining(after))
    base = next((each for each in reversed(before) if not unicodedata.combining(each)), "")
    is_cursive = bool(base) and all(unicodedata.bidirectional(each) == "AL" for each in (base, after))
    is_emoji = joiner == ZERO_WIDTH_JOINER and (before[-1] == "\ufe0f" or _is_emoji(before[-1])) and _is_emoji(after)
    return is_virama or is_cursive or is_emoji


def _is_emoji(character: str) -> bool:
    is_pictograph = "\U0001f000" <= character <= "\U0001faff"
    return is_pictograph or character == "\u2194" or unicodedata.category(character) == "So"
