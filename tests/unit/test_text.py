"""Text from outside is shown without anything hidden in it, and recorded in UTF-8 whatever it holds."""

import os
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from contracts.text import escape_controls, replace_surrogates

ANY_TEXT = st.text(
    st.one_of(
        st.characters(exclude_categories=()),
        st.sampled_from("a /#1.+\u0633\u064e\u0915\u094d\u1820\u2764\U0001f468\U0001f3f4\U0001f3fd\u05d0\u3042\u845b"),
        st.sampled_from(
            "\x1b\n\x85\u00ad\u061c\u200b\u200c\u200d\u200f\u202e\u2066\u2069\ufe00\ufe0f\ufeff\U000e0067\U000e007f\udcff"
        ),
    )
)

NEVER = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\u115f\u1160\u3164\ufeff\uffa0\ufff9-\ufffb"
    "\U000e0001\ud800-\udfff]"
)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("two\nlines\r\n\tthree", r"two\nlines\r\n\tthree"),
        ("\x9b2J\x85\x7f\x00", r"\x9b2J\x85\x7f\x00"),
        ("map\u202egnp.exe", r"map\u202egnp.exe"),
        ("\u2066a\u2069\u200e\u200f\u061c", r"\u2066a\u2069\u200e\u200f\u061c"),
        ("a\u2028b\u2029c", r"a\u2028b\u2029c"),
        (
            "pay\u200bpal\ufeff pay\u200dpal pay\u200cpal so\u00adft\u2060",
            r"pay\u200bpal\ufeff pay\u200dpal pay\u200cpal so\xadft\u2060",
        ),
        ("a\ufe0f+\ufe0fa\U000e0101", r"a\ufe0f+\ufe0fa\U000e0101"),
        ("\u3164\u115f\u2800\uffa0", r"\u3164\u115f\u2800\uffa0"),
        ("a\U000e0041\U000e007f", r"a\U000e0041\U000e007f"),
        ("\U0001f3f4\U000e0067", "\U0001f3f4" + r"\U000e0067"),
        ("\u65e5\u200d\u672c \u2764\u200d", "\u65e5" + r"\u200d" + "\u672c \u2764" + r"\u200d"),
        ("\udcff\udc80\ud800\udfff", r"\xff\x80\ud800\udfff"),
        ("\ufffe\ufdd0\U0010ffff", r"\ufffe\ufdd0\U0010ffff"),
    ],
)
def test_what_is_hidden_is_escaped(text: str, shown: str) -> None:
    assert escape_controls(text) == shown


@pytest.mark.parametrize(
    "name",
    [
        "castle (1) [red] 50% #3.png",
        r"C:\maps\new\x1b.png",
        "Größe_Œuvre_ÇA.png",
        "карта мира.png",
        "地図　東京.png",
        "葛\U000e0100城.png",
        "한국어.png",
        "แผนที่.png",
        "خريطة الفن.png",
        "می\u200cخواهم.png",
        "\u06dd12",
        "מפה של העולם.png",
        "क\u094d\u200dष.png",
        "ශ\u0dca\u200dරී",
        "র\u200d\u09cdযাব",
        "ᠮᠣᠩᠭᠣᠯ\u180eᠠ",
        "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466",
        "\U0001f469\U0001f3fd\u200d\U0001f680",
        "\U0001f3f3\ufe0f\u200d\U0001f308",
        "\u2764\ufe0f\u200d\U0001f525",
        "\U0001f642\u200d\u2194\ufe0f",
        "\U0001f408\u200d\u2b1b",
        "1\ufe0f\u20e3 #\ufe0f\u20e3 \u00a9\ufe0f \u203c\ufe0f",
        "\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f",
        "\U0001f1e9\U0001f1ea \U0001fae8",
    ],
)
def test_a_name_in_any_language_and_emoji_stay_as_they_are(name: str) -> None:
    assert escape_controls(name) == name
    assert replace_surrogates(name) == name


@given(ANY_TEXT)
@example("\u0633\u200d\u061c")
@example("\u2764\u200d\ufe0f\u2764")
@example("\u3164\ufe00")
def test_nothing_hidden_is_left_and_a_second_time_changes_nothing(text: str) -> None:
    shown = escape_controls(text)
    assert not NEVER.search(shown)
    shown.encode()
    assert escape_controls(shown) == shown
    assert len(shown.splitlines()) <= 1


@given(st.binary())
def test_every_name_of_a_file_is_shown_and_recorded_in_utf_8(name: bytes) -> None:
    text = os.fsdecode(name)
    assert not NEVER.search(escape_controls(text))
    replace_surrogates(text).encode()


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_text_that_utf_8_holds_is_recorded_as_it_is(text: str) -> None:
    assert replace_surrogates(text) == text


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126)))
def test_plain_text_is_shown_as_it_is(text: str) -> None:
    assert escape_controls(text) == text
