"""Sends answers to slash commands from any process. It needs only the interaction's token, no login and no gateway."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self, cast

import aiohttp
import disnake
from disnake.webhook import Webhook
from disnake.webhook.async_ import AsyncWebhookAdapter, async_context

from contracts.errors import Reject, RejectCode, Retry
from contracts.ports import AnswerPage, SearchStep
from infra.discord.answers.embeds import render_answer
from infra.discord.rest.rate_limit import RequestBudget, build_trace_config
from infra.discord.wording import localize

ORIGINAL_RESPONSE = cast(int, "@original")
"""Discord's name for the deferred answer, in place of a message id."""

INVALID_WEBHOOK_TOKEN = 50027


@contextmanager
def own_webhook_adapter() -> Iterator[None]:
    """Let the calls inside use a webhook adapter of their own.

    disnake's shared adapter keeps a lock for the token of every interaction and never drops it.
    """
    token = async_context.set(AsyncWebhookAdapter())
    try:
        yield
    finally:
        async_context.reset(token)


class WebhookAnswers:
    """Sends answers through Discord's webhook API; implements the port AnswerSender.

    Create it inside the event loop and close it after use. Answers are exempt from the bot's rate limit, but refused requests count
    in the `budget`.
    """

    def __init__(self, budget: RequestBudget | None = None, *, timeout: float = 15) -> None:
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=timeout),
            raise_for_status=_raise_retryable,
            trace_configs=[] if budget is None else [build_trace_config(budget)],
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        await self._session.close()

    async def edit(self, application_id: str, token: str, answer: AnswerPage, *, message_id: str | None = None) -> None:
        view = render_answer(answer)
        with _translate_errors():
            await self._webhook(application_id, token).edit_message(
                _to_message_id(message_id),
                content=None,  # removes the progress text
                embeds=view.embeds,
                files=[
                    disnake.File(io.BytesIO(picture.data), filename=name, description=picture.description)
                    for name, picture in view.files.items()
                ],
                attachments=[],  # removes the files of an earlier delivery, so that a repeated one shows the same
                components=view.components,
                allowed_mentions=disnake.AllowedMentions.none(),
            )

    async def show_progress(
        self, application_id: str, token: str, step: SearchStep, locale: str, *, message_id: str | None = None
    ) -> None:
        """Set only the content, so that the answer stays if this arrives after it."""
        with _translate_errors():
            await self._webhook(application_id, token).edit_message(
                _to_message_id(message_id),
                content=localize(locale, f"answers-step-{step}"),
                allowed_mentions=disnake.AllowedMentions.none(),
            )

    def _webhook(self, application_id: str, token: str) -> Webhook:
        return Webhook.partial(int(application_id), token, session=self._session)


def _to_message_id(message_id: str | None) -> int:
    return ORIGINAL_RESPONSE if message_id is None else int(message_id)


@contextmanager
def _translate_errors() -> Iterator[None]:
    """Turn errors of Discord and of the network into Reject and Retry."""
    try:
        with own_webhook_adapter():
            yield
    except disnake.HTTPException as error:
        if error.status in (401, 404) or error.code == INVALID_WEBHOOK_TOKEN:
            raise Reject(RejectCode.GONE, "Discord does not know the interaction, or its token has expired.") from error
        raise
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise Retry(f"Discord cannot be reached to deliver the answer: {type(error).__name__}") from error


async def _raise_retryable(response: aiohttp.ClientResponse) -> None:
    """Raise Retry for a response that may succeed later, before disnake sees it.

    disnake would sleep and try again, for minutes if a rate limit says so.
    """
    if response.status == 429 or response.status >= 500:
        response.close()
        raise Retry(f"Discord answered {response.status}", after=_parse_seconds(response.headers.get("Retry-After")))


def _parse_seconds(header: str | None) -> float | None:
    """Parse Retry-After as Discord sends it: a number of seconds. Ignore the HTTP date that a proxy may send instead."""
    try:
        return float(header) if header else None
    except ValueError:
        return None
