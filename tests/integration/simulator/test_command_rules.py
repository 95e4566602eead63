"""Rules for commands: a command that breaks one is refused, and one at the limits is accepted."""

from typing import Any

import aiohttp
import pytest

from infra.sandbox.simulator import Simulator


def option(**fields: Any) -> dict[str, Any]:
    return {"type": 3, "name": "a", "description": "x", **fields}


def slash(*options: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"name": "find", "description": "x", "options": list(options), **fields}


GROUP, SUBCOMMAND = {"type": 2, "name": "g"}, {"type": 1, "name": "s"}
CHOICE = {"name": "n", "value": "v"}
LONG_CHOICES = [{"name": f"{n:0100}", "value": "v" * 100} for n in range(3)]


@pytest.mark.parametrize(
    ("command", "where"),
    [
        (slash(type=4), "type"),
        (slash(name_localizations={"xx": "a"}), "name_localizations.xx"),
        (slash(name_localizations={"de": "Find It"}), "name_localizations.de"),
        (slash(description_localizations={"de": "x" * 101}), "description_localizations.de"),
        (slash(default_member_permissions="all"), "default_member_permissions"),
        (slash(contexts=[3]), "contexts.0"),
        (slash(contexts=[0, 0]), "contexts"),
        (slash(contexts=[]), "contexts"),
        (slash(integration_types=[0, 2]), "integration_types.1"),
        (slash(integration_types=[1, 1]), "integration_types"),
        (slash(nsfw="no"), "nsfw"),
        (slash(dm_permission=1), "dm_permission"),
        (slash(*[option(name=f"a{n}") for n in range(26)]), "options"),
        (slash(option(), option()), "options.1"),
        (slash(option(type=9, description="")), "options.0.description"),
        (slash(option(name_localizations={"en": "a"})), "options.0.name_localizations.en"),
        (slash(option(**GROUP)), "options.0.options"),
        (slash(option(**GROUP, options=[option()])), "options.0.options.0.type"),
        (slash(option(**GROUP, options=[option(**GROUP)])), "options.0.options.0.type"),
        (slash(option(**SUBCOMMAND, options=[option(**SUBCOMMAND)])), "options.0.options.0.type"),
        (slash(option(**SUBCOMMAND), option()), "options"),
        (slash(option(choices=[CHOICE] * 26)), "options.0.choices"),
        (slash(option(choices=[CHOICE] * 2)), "options.0.choices.1"),
        (slash(option(choices=[{"name": "", "value": "v"}])), "options.0.choices.0.name"),
        (slash(option(choices=[{"name": "n", "value": 1}])), "options.0.choices.0.value"),
        (slash(option(choices=[{"name": "n", "value": "v" * 101}])), "options.0.choices.0.value"),
        (slash(option(choices=[CHOICE], autocomplete=True)), "options.0.choices"),
        (slash(option(type=5, choices=[CHOICE])), "options.0.choices"),
        (slash(option(min_value=1)), "options.0.min_value"),
        (slash(option(type=4, max_value="9")), "options.0.max_value"),
        (slash(option(min_length=-1)), "options.0.min_length"),
        (slash(option(min_length=5, max_length=4)), "options.0.min_length"),
        (slash(option(max_length=0)), "options.0.max_length"),
        (slash(option(required="yes")), "options.0.required"),
        (slash(option(autocomplete=0)), "options.0.autocomplete"),
        (slash(option(type=7, channel_types=[0, 6])), "options.0.channel_types.1"),
        (slash(option(type=7, channel_types=[5, 5])), "options.0.channel_types"),
        (slash(option(channel_types=[0])), "options.0.channel_types"),
        ({"name": "Find", "type": 3, "description": "x"}, ""),
        ({"name": "f" * 33, "type": 3}, "name"),
        (slash(*[option(name=f"a{n}", choices=LONG_CHOICES) for n in range(14)]), ""),
    ],
)
async def test_a_command_against_the_rules_is_refused_where_it_breaks_them(
    sim: Simulator, http: aiohttp.ClientSession, command: dict[str, Any], where: str
) -> None:
    url = f"{sim.api_base}/applications/{sim.application_id}/commands"
    response = await http.put(url, json=[command])
    error = await response.json()
    assert (response.status, error["code"]) == (400, 50035)
    errors = error["errors"]["0"]
    for key in where.split(".") if where else ():
        errors = errors[key]
    assert errors["_errors"][0]["code"]


async def test_the_number_of_commands_is_limited_by_type(sim: Simulator, http: aiohttp.ClientSession) -> None:
    url = f"{sim.api_base}/applications/{sim.application_id}/commands"
    slashes = [{"name": f"s{n}", "description": "x"} for n in range(100)]
    menus = [{"name": f"Menu {n}", "type": kind} for n in range(15) for kind in (2, 3)]
    assert (await http.put(url, json=slashes + menus)).status == 200
    for extra in ({"name": "more", "description": "x"}, {"name": "More", "type": 2}, {"name": "More", "type": 3}):
        assert (await http.put(url, json=[*slashes, *menus, extra])).status == 400


async def test_the_longest_translation_of_a_text_counts(sim: Simulator, http: aiohttp.ClientSession) -> None:
    url = f"{sim.api_base}/applications/{sim.application_id}/commands"

    def command(length: int) -> dict[str, Any]:
        long = {"de": "x" * length, "fr": "x" * 90}
        options = [option(name=f"a{n:02}", description_localizations=long) for n in range(25)]
        groups = [option(type=1, name=f"s{n}", options=options) for n in range(3)]
        return slash(*groups)

    assert (await http.put(url, json=[command(100)])).status == 200
    assert (await http.put(url, json=[command(100) | {"description_localizations": {"de": "x" * 100}}])).status == 200
    bigger = command(100)
    bigger["options"].append(option(type=1, name="s3", options=bigger["options"][0]["options"]))
    error = await (await http.put(url, json=[bigger])).json()
    assert error["errors"]["0"]["_errors"][0]["code"] == "APPLICATION_COMMAND_TOO_LARGE"
