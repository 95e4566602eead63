"""`mapseek invite`: a link with the least permissions, without any network."""

import base64
import inspect
import io
import re
from urllib.parse import parse_qs, urlsplit

import disnake
import pytest
from pydantic import SecretStr
from rich.console import Console

from contracts.errors import MapSeekError
from infra.discord import gateway
from infra.discord.invite import INTENTS, PERMISSIONS, build_invite_link, parse_application_id
from infra.discord.wording import localize
from pipeline.serve.command import show_invite
from pipeline.settings import Settings

TOKEN = f"{base64.urlsafe_b64encode(b'123456789012345678').decode().rstrip('=')}.abc.def"


def test_the_application_is_the_first_part_of_the_token() -> None:
    assert parse_application_id(TOKEN) == parse_application_id(f" {TOKEN}\n") == 123456789012345678


@pytest.mark.parametrize(
    "token", ["", "abc", "....", "é.a.b", f"{base64.b64encode(b'dragon').decode()}.a.b", TOKEN.partition(".")[0]]
)
def test_what_is_no_token_is_told_without_repeating_it(token: str) -> None:
    with pytest.raises(MapSeekError, match="DISCORD_TOKEN is not a bot token") as caught:
        parse_application_id(token)
    assert caught.value.__cause__ is None
    assert not token or token not in str(caught.value)


def test_the_link_asks_for_the_least() -> None:
    query = parse_qs(urlsplit(build_invite_link(42, 7)).query)
    asked = disnake.Permissions(int(query["permissions"][0]))
    assert {name for name, on in asked if on} == {
        "view_channel",
        "read_message_history",
        "send_messages",
        "send_messages_in_threads",
        "embed_links",
        "add_reactions",
    }
    assert (query["client_id"], query["scope"], query["guild_id"]) == (["42"], ["bot applications.commands"], ["7"])
    assert "guild_id" not in parse_qs(urlsplit(build_invite_link(42)).query)
    assert all(PERMISSIONS.values())


def test_the_intents_are_those_of_the_gateway() -> None:
    """Least intents are documented as they are used."""
    assert {name for name, on in disnake.Intents(**dict.fromkeys(INTENTS, True)) if on} == set(INTENTS)
    source = inspect.getsource(gateway.GatewayClient)
    assert all(f"{name}=True" in source for name in INTENTS)


def test_the_command_prints_the_link_and_what_it_is_for() -> None:
    out = Console(file=io.StringIO(), width=200)
    show_invite(Settings(discord_token=SecretStr(TOKEN)), 7, out)
    shown = out.file.getvalue()  # type: ignore[attr-defined]
    assert build_invite_link(123456789012345678, 7) in shown
    assert all(reason in shown for reason in (*PERMISSIONS.values(), *INTENTS.values()))


def test_every_reason_is_one_or_two_whole_sentences() -> None:
    for reason in (*PERMISSIONS.values(), *INTENTS.values()):
        assert re.fullmatch(r"[A-Z][^.]{20,110}\.( [A-Z][^.]{10,90}\.)?", reason), reason


@pytest.mark.parametrize("language", ["en", "de"])
def test_the_privacy_notice_fits_into_an_embed(language: str) -> None:
    fields = [localize(language, f"privacy-{part}") for part in ("asking", "removal", "readers")]
    assert all(len(field) <= 1024 for field in fields)
    assert len(localize(language, "privacy-kept")) + sum(map(len, fields)) < 5000
