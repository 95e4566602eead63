"""Every text that people read on Discord, from message catalogues: `locale/<language>/<area>.ftl`, in Project Fluent's format.

Counts are passed as numbers, so that Fluent groups their digits and chooses the plural. Ids and names are passed as strings, and
moments as Discord's own timestamps (`disnake.utils.format_dt`), which each reader sees in their own time zone and language.
"""

from functools import cache
from pathlib import Path

import disnake
from fluent.runtime import FluentBundle, FluentResource

LANGUAGES = {"en": (disnake.Locale.en_US, disnake.Locale.en_GB), "de": (disnake.Locale.de,)}
"""The languages with catalogues, and Discord's names for them. Every other locale reads English."""

LOCALE_FOLDER = Path(__file__).with_name("locale")


def choose_language(locale: str | disnake.Locale) -> str:
    """Return the language for a member whose client has this locale (`de`, `en-GB`, `pt-BR`)."""
    language = str(locale).partition("-")[0]
    return language if language in LANGUAGES else "en"


def localize(locale: str | disnake.Locale, message: str, **values: str | int | float) -> str:
    """Return a message in the language of a locale.

    Raises KeyError if no catalogue has the message, and ValueError if a value is missing.
    """
    bundle = _bundle(choose_language(locale))
    pattern = bundle.get_message(message).value if bundle.has_message(message) else None
    if pattern is None:
        raise KeyError(message)
    text, errors = bundle.format_pattern(pattern, values)
    if errors:
        raise ValueError(f"The message {message} cannot be formatted: {errors[0]}")
    return str(text)


def localize_all(message: str) -> disnake.Localized[str]:
    """Return a command's or an option's name or description in every language. Raises as `localize` does."""
    data = {locale: localize(locale, message) for locales in LANGUAGES.values() for locale in locales}
    return disnake.Localized(localize("en", message), data=data)


@cache
def _bundle(language: str) -> FluentBundle:
    """Read a language's messages, once in a process."""
    bundle = FluentBundle([language], use_isolating=False)
    for file in sorted((LOCALE_FOLDER / language).glob("*.ftl")):
        bundle.add_resource(FluentResource(file.read_text(encoding="utf-8")))
    return bundle
