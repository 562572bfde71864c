"""Routes for what is said in conversations: history, sending, search, export and import."""

import asyncio

import orjson
from aiohttp import web

from baton.core.errors import NotFound
from baton.core.ids import RequestId
from baton.core.models import Run
from baton.schemas import answers
from baton.schemas.codec import to_wire
from baton.schemas.fields import parse_json
from baton.schemas.rest import (
    ExportQuerySchema,
    HistoryQuery,
    HistoryQuerySchema,
    SearchQuery,
    SearchQuerySchema,
    SendBodySchema,
)
from baton.schemas.transfer import DocumentSchema
from baton.web.rest.answers import JSON, JSON_TYPE, answer, content_headers, stream
from baton.web.rest.body import read_body
from baton.web.rest.route import Call, Route

_ONE = "/api/chat/conversations/{conversationId}"
_MARKDOWN = "text/markdown"
_IMPORT_PAYLOADS = 8
"""A whole conversation with its files may be so many times as large as any other body."""


async def history(call: Call) -> web.Response:
    """One page, as the JSON that is stored."""
    query: HistoryQuery = call.query
    page = await call.services.snapshots.history(
        call.who, call.conversation_id, before=query.before, after=query.after, limit=query.limit
    )
    return answer(
        {
            "messages": [orjson.Fragment(message) for message in page.messages],
            "runs": [orjson.Fragment(run) for run in page.runs],
            "next": page.next,
        }
    )


async def send(call: Call) -> web.Response:
    """What became of it, and its run."""
    sent = await call.services.runs.send(call.who, call.body)
    run = await _run_of(call, sent.request_id)
    return answer({**to_wire(sent), "run": None if run is None else to_wire(run)}, status=202)


async def _run_of(call: Call, request_id: RequestId) -> Run | None:
    """The run; None where it has been deleted, and the send was only answered again."""
    try:
        return await call.services.runs.get(call.who, request_id)
    except NotFound:
        return None


async def search(call: Call) -> web.Response:
    """One page of hits."""
    query: SearchQuery = call.query
    found = await call.services.stats.search(
        call.who, query.q, project_id=query.project_id, cursor=query.next, limit=query.limit
    )
    return answer({"results": [to_wire(hit) for hit in found.items], "next": found.next})


async def export(call: Call) -> web.StreamResponse:
    """The conversation as a file, piece by piece."""
    transfer, name = call.services.transfer, f"conversation-{call.conversation_id}"
    if call.query["format"] == "md":
        headers = content_headers(f"{_MARKDOWN}; charset=utf-8", f"{name}.md", inline=False)
        return await stream(call.request, headers, transfer.stream_markdown(call.who, call.conversation_id))
    headers = content_headers(JSON_TYPE, f"{name}.json", inline=False)
    return await stream(call.request, headers, transfer.stream_json(call.who, call.conversation_id))


async def import_(call: Call) -> web.Response:
    """The new conversation."""
    most_bytes = _IMPORT_PAYLOADS * call.desk.limits.payload_max_bytes
    body = await read_body(call.request, most_bytes, limit=f"{_IMPORT_PAYLOADS} x payload_max_bytes")
    # Parsing some MB takes longer than other people's streams should wait.
    document = await asyncio.to_thread(parse_json, body)
    conversation = await call.services.transfer.import_document(call.who, document)
    return answer({"conversation": to_wire(conversation)}, status=201)


ROUTES = (
    Route(
        method="GET",
        path=f"{_ONE}/messages",
        handler=history,
        summary="A page of messages by ordinal: the newest, or those before or after one",
        tag="Messages",
        answer=answers.MessagesAnswer,
        query=HistoryQuerySchema,
    ),
    Route(
        method="POST",
        path=f"{_ONE}/messages",
        handler=send,
        summary="Send a message to the agent",
        tag="Messages",
        answer=answers.SentAnswer,
        status=202,
        body=SendBodySchema,
    ),
    Route(
        method="GET",
        path="/api/chat/search",
        handler=search,
        summary="Messages and titles that hold all words, newest first",
        tag="Messages",
        answer=answers.SearchAnswer,
        query=SearchQuerySchema,
    ),
    Route(
        method="GET",
        path=f"{_ONE}/export",
        handler=export,
        summary="A conversation as JSON or Markdown",
        tag="Transfer",
        query=ExportQuerySchema,
        produces=(JSON, _MARKDOWN),
    ),
    Route(
        method="POST",
        path="/api/chat/import",
        handler=import_,
        summary="Make a conversation of an exported document",
        tag="Transfer",
        answer=answers.ConversationAnswer,
        status=201,
        body_description=DocumentSchema,
    ),
)
