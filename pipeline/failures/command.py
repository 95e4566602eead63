"""`mapseek failures`: list, show, retry and discard dead letters."""

import os
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import orjson
import typer
from rich.console import Console

from contracts.errors import MapSeekError
from contracts.subjects import RECORD
from contracts.text import escape_controls
from infra.nats.connection import Client
from infra.nats.erasure import LogErasure
from infra.nats.journal import JetStreamJournal
from pipeline.cli.app import print_json
from pipeline.cli.open import open_log_client
from pipeline.clock import utc_now
from pipeline.engine import topology
from pipeline.engine.registry import STAGES, find_stages
from pipeline.failures import render
from pipeline.failures.letters import Letter, discard_letter, find_letter, list_letters, list_stages_without_worker, retry_letter
from pipeline.settings import Settings


@dataclass(frozen=True, slots=True)
class Choice:
    """Which dead letters: those with these ids, or those of this stage, reason and guild."""

    ids: tuple[str, ...] = ()
    stage: str | None = None
    reason: str | None = None
    guild: str | None = None
    all: bool = False

    @property
    def has_filter(self) -> bool:
        return bool(self.stage or self.reason or self.guild)


@asynccontextmanager
async def _open_client(settings: Settings) -> AsyncIterator[Client]:
    async with open_log_client(settings, "mapseek-failures") as client:
        await topology.ensure_topology(client, STAGES)
        yield client


async def _choose_letters(client: Client, choice: Choice) -> Sequence[Letter]:
    if choice.stage not in (None, RECORD):
        find_stages([str(choice.stage)])
    if choice.ids:
        return [await find_letter(client, each) for each in dict.fromkeys(choice.ids)]
    return await list_letters(client, stage=choice.stage, reason=choice.reason, guild=choice.guild)


def _check_choice(choice: Choice) -> Choice:
    if bool(choice.ids) + choice.all + choice.has_filter != 1:
        raise MapSeekError("Say which dead letters: give ids, or --stage, --reason or --guild, or --all.")
    return choice


def _open_journal(client: Client) -> JetStreamJournal:
    return JetStreamJournal(client, source=f"mapseek/{socket.gethostname()}/{os.getpid()}", now=utc_now)


async def list_failures(settings: Settings, choice: Choice, *, as_json: bool, out: Console) -> int:
    """Print the chosen open dead letters."""
    async with _open_client(settings) as client:
        found = await _choose_letters(client, choice)
    if as_json:
        _print_json([render.summarise_letter(letter) for letter in found], out)
    elif found:
        out.print(render.render_letters(found))
    else:
        out.print("There is no open dead letter." if choice == Choice() else "There is no such dead letter.")
    return 0


async def show_failure(settings: Settings, letter_id: str, *, as_json: bool, out: Console) -> int:
    """Print a dead letter with its headers, traceback and payload."""
    async with _open_client(settings) as client:
        letter = await find_letter(client, letter_id)
    if as_json:
        _print_json(render.describe_letter(letter), out)
    else:
        out.print(render.render_letter(letter))
    return 0


async def retry_failures(settings: Settings, choice: Choice, out: Console) -> int:
    """Put the chosen dead letters back, and print which of their stages no process works on."""
    _check_choice(choice)
    async with _open_client(settings) as client:
        found, journal, erasure = await _choose_letters(client, choice), _open_journal(client), LogErasure(client)
        for letter in found:
            await retry_letter(letter, journal, erasure)
            out.print(escape_controls(f"put back: {letter.id}"), markup=False, highlight=False, soft_wrap=True)
        idle = await list_stages_without_worker(client, [letter.worker.stage for letter in found])
    if not found:
        out.print("There is no such dead letter.")
    for stage in idle:
        if stage == RECORD:
            out.print("No gateway runs now, which reads messages of Discord: start it with `mapseek gateway` or `mapseek up`.")
        else:
            out.print(f"No process runs the stage {stage} now: start one with `mapseek run {stage}` or `mapseek up`.")
    return 0


async def discard_failures(settings: Settings, choice: Choice, *, yes: bool, out: Console) -> int:
    """Discard the chosen dead letters. Ask for confirmation if there is more than one."""
    _check_choice(choice)
    async with _open_client(settings) as client:
        found, journal, erasure = await _choose_letters(client, choice), _open_journal(client), LogErasure(client)
        if len(found) > 1 and not yes:
            typer.confirm(f"Discard {len(found)} dead letters?", abort=True)
        for letter in found:
            await discard_letter(letter, journal, erasure)
            out.print(escape_controls(f"discarded: {letter.id}"), markup=False, highlight=False, soft_wrap=True)
    if not found:
        out.print("There is no such dead letter.")
    return 0


def _print_json(value: Any, out: Console) -> None:
    print_json(orjson.dumps(value).decode(), out)
