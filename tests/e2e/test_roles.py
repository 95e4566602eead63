"""Every process logs in as the user of its role, as the services of docker-compose.yml do, and the server refuses none of them."""

from contextlib import AsyncExitStack
from pathlib import Path

from contracts.events import (
    AlertDelivered,
    AlertSet,
    ImageIndexed,
    ImageRejected,
    ImageRemoved,
    ImageReposted,
    SearchJudged,
)
from infra.discord.wording import localize
from infra.nats.connection import connect
from pipeline.engine import topology
from pipeline.engine.registry import STAGES
from pipeline.engine.roles import GATEWAY, OPERATOR, list_roles
from pipeline.process import open_process
from pipeline.projections.rebuild_index import ask_processes
from tests.support.archives import ERASE_AT_ONCE
from tests.support.log_servers import run_role_server
from tests.support.world import Log, art_png, read_headline, simulated_discord

EN = "en-US"


async def test_processes_with_the_users_of_their_roles_archive_answer_alert_and_forget(tmp_path: Path) -> None:
    async with run_role_server(tmp_path) as server, simulated_discord() as discord, AsyncExitStack() as stack:
        operator = await connect(server.get_address(OPERATOR), "test")
        stack.push_async_callback(operator.close)
        await topology.update_topology(operator, STAGES)
        settings = discord.settings(tmp_path / "data")
        working = [role for role in list_roles() if role.name != OPERATOR]
        for role in sorted(working, key=lambda role: role.name == "embed"):  # the others wait for the generation that it starts
            address = server.get_address(role.name)
            opened = open_process(settings, address, role.stages, with_gateway=role.name == GATEWAY, policy=ERASE_AT_ONCE)
            await stack.enter_async_context(opened)
        await discord.simulator.wait_for_command("find")
        log, simulator = Log(operator), discord.simulator

        unknown = await simulator.answer(await discord.ask(art_png(2)), embedded=True)
        noted = await simulator.answer(await simulator.press(unknown, discord.alex, label=localize(EN, "answers-button-alert")))
        assert noted.content == localize(EN, "asking-alert-noted")
        await log.wait_for(AlertSet, 1)

        post = await discord.post(("piece.png", art_png(1)))
        await log.wait_for(ImageIndexed, 1)
        await discord.post(("again.png", art_png(1)))
        await discord.post(("broken.png", art_png(3)[:500]))
        await discord.post(("wanted.png", art_png(2)))
        await log.wait_for(ImageRejected, 1)
        await log.wait_for(AlertDelivered, 1)
        await log.wait_for(ImageReposted, 1)

        answer = await simulator.answer(await discord.ask(art_png(1)), embedded=True)
        assert read_headline(answer) == "Found it: first posted by Steve"
        await simulator.answer(await simulator.press(answer, discord.alex, label=localize(EN, "answers-button-right")))
        await log.wait_for(SearchJudged, 1)
        why = await simulator.answer(await simulator.press(answer, discord.alex, label=localize(EN, "answers-button-why")))
        assert why.attachments
        listed = await simulator.answer(await simulator.slash(discord.gallery, discord.alex, "alerts"))
        assert listed.ephemeral

        await simulator.delete(post)
        await log.wait_for(ImageRemoved, 1)
        asked = await simulator.answer(await simulator.slash(discord.gallery, discord.steve, "forget me"))
        await simulator.answer(await simulator.press(asked, discord.steve, label=localize(EN, "privacy-button-yes")))
        await log.wait_for(ImageRemoved, 3)
        for lane in ("removal", "image", "search", "alert"):
            await log.wait_until_idle(lane)
        assert await log.dead_letters() == []
        reports = await ask_processes(operator, verify=True, on_report=lambda _: None)
        assert [report.state for report in reports] == ["done", "done"]
        assert server.list_violations() == []
