"""/forget: which texts identify a message, and the facts that are recorded."""

import pytest

from infra.discord.cogs.privacy import build_author_removal, build_message_removal, parse_message_id
from tests.support.facts import MOMENT, posted

MESSAGE = "1234567890123456789"


@pytest.mark.parametrize(
    "typed",
    [
        MESSAGE,
        f"  {MESSAGE}\n",
        f"9234567890123456789-{MESSAGE}",
        f"https://discord.com/channels/7/8/{MESSAGE}",
        f"<https://discord.com/channels/7/8/{MESSAGE}>",
        f"https://ptb.discord.com/channels/7/8/{MESSAGE}/",
        f"https://canary.discordapp.com/channels/7/8/{MESSAGE}?x=1",
    ],
)
def test_a_message_is_given_by_link_or_id(typed: str) -> None:
    assert parse_message_id(typed, "7") == MESSAGE


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "dragon",
        "12",
        f"https://discord.com/channels/77/8/{MESSAGE}",
        f"https://discord.com/channels/@me/8/{MESSAGE}",
        f"https://evil.example/channels/7/8/{MESSAGE}",
        f"https://discord.com.evil.example/channels/7/8/{MESSAGE}",
        f"{MESSAGE} {MESSAGE}",
        "١٢٣٤٥٦٧٨٩٠١٢٣٤٥٦٧٨",
    ],
)
def test_other_texts_and_links_to_other_guilds_are_refused(typed: str) -> None:
    assert parse_message_id(typed, "7") is None


def test_a_removal_is_recorded_once_for_a_message_and_each_time_for_a_member() -> None:
    assert (
        build_message_removal(posted("9"), MOMENT).key == build_message_removal(posted("19"), MOMENT).key == ("7", "forgotten-10")
    )
    assert build_author_removal("7", "5", "100", MOMENT).key != build_author_removal("7", "5", "101", MOMENT).key
