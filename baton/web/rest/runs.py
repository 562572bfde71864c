"""Routes for runs and prompts: what agents do, and what they ask."""

from collections.abc import Sequence

from aiohttp import web

from baton.core.errors import NotFound
from baton.core.models import Prompt, Run
from baton.schemas import answers
from baton.schemas.browser import RespondPromptSchema
from baton.schemas.codec import to_wire
from baton.schemas.rest import PromptsQuerySchema, RunsQuerySchema
from baton.web.rest.answers import answer
from baton.web.rest.route import Call, Route

_CONVERSATION = "/api/chat/conversations/{conversationId}"
_PROMPT = "/api/chat/prompts/{promptId}"


async def active(call: Call) -> web.Response:
    """Runs that have not ended."""
    return answer({"runs": [to_wire(run) for run in await call.services.runs.active(call.who)]})


async def abort(call: Call) -> web.Response:
    """The run, ended or about to be."""
    run: Run = await call.services.runs.abort(call.who, call.request_id)
    return answer({"run": to_wire(run)})


async def page(call: Call) -> web.Response:
    """Prompts of all conversations."""
    return _many(await call.services.prompts.page(call.who, call.query["status"]))


async def pending(call: Call) -> web.Response:
    """What waits in one conversation."""
    return _many(await call.services.prompts.pending(call.who, call.conversation_id))


async def get(call: Call) -> web.Response:
    """One of them."""
    return _said(await call.services.prompts.get(call.who, call.prompt_id))


async def respond(call: Call) -> web.Response:
    """The prompt as answered."""
    return _said(await call.services.prompts.respond(call.who, call.body))


async def respond_within(call: Call) -> web.Response:
    """The prompt as answered, if it is one of the conversation's."""
    prompt = await call.services.prompts.get(call.who, call.body.prompt_id)
    if prompt.conversation_id != call.conversation_id:
        raise NotFound("There is no such prompt in this conversation")
    return await respond(call)


def _said(prompt: Prompt) -> web.Response:
    return answer({"prompt": to_wire(prompt)})


def _many(prompts: Sequence[Prompt]) -> web.Response:
    return answer({"prompts": [to_wire(prompt) for prompt in prompts]})


ROUTES = (
    Route(
        method="GET",
        path="/api/chat/runs",
        handler=active,
        summary="Runs that have not ended, oldest first",
        tag="Runs",
        answer=answers.RunsAnswer,
        query=RunsQuerySchema,
    ),
    Route(
        method="POST",
        path="/api/chat/runs/{requestId}/abort",
        handler=abort,
        summary="End a run",
        tag="Runs",
        answer=answers.RunAnswer,
    ),
    Route(
        method="GET",
        path="/api/chat/prompts",
        handler=page,
        summary="Prompts of all conversations, newest first",
        tag="Prompts",
        answer=answers.PromptsAnswer,
        query=PromptsQuerySchema,
    ),
    Route(
        method="GET",
        path=f"{_CONVERSATION}/prompts/pending",
        handler=pending,
        summary="Prompts of a conversation that wait for an answer",
        tag="Prompts",
        answer=answers.PromptsAnswer,
    ),
    Route(method="GET", path=_PROMPT, handler=get, summary="A prompt", tag="Prompts", answer=answers.PromptAnswer),
    Route(
        method="POST",
        path=f"{_PROMPT}/respond",
        handler=respond,
        summary="Answer a prompt; of several answers one wins",
        tag="Prompts",
        answer=answers.PromptAnswer,
        body=RespondPromptSchema,
    ),
    Route(
        method="POST",
        path=f"{_CONVERSATION}/respond",
        handler=respond_within,
        summary="Answer a prompt that the body names",
        tag="Prompts",
        answer=answers.PromptAnswer,
        body=RespondPromptSchema,
    ),
)
