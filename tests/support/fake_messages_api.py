"""A test tool: a small fake of Anthropic's Messages API on loopback, deterministic, without any model behind it.

The real Claude Code program talks to it through `ANTHROPIC_BASE_URL` and runs whole turns, with tools, permission
questions and plans. In a test: `async with FakeMessagesApi() as api`. By hand:
`python -m tests.support.fake_messages_api --port 0`.

What it answers is chosen by the first word of the last thing the person typed; `script` overrides that:

    text WORDS        the words, streamed                  think WORDS     thinking, then the words
    bash COMMAND      a call of Bash, then what it said    slow            very long text, slowly
    question          AskUserQuestion with two questions   plan            ExitPlanMode with a plan
    write PATH TEXT   a call of Write                      todo            a to-do list
    agents CMD | CMD  two sub-agents that each run a command with Bash, at once
    later COMMAND     a call of Bash that is left running in the background
    status CODE       the HTTP error, every time           once CODE       the HTTP error once, then the text "back"
    drop              the connection breaks in mid-stream, once, then "back"
    broken            an `error` event in mid-stream, once, then "back"
    long              stops with max_tokens                refuse          stops with refusal

Anything else is answered with `You said: ...`. When Claude Code tells of work in the background that has ended, that
is `notified WHAT`, answered with `It is done: WHAT`.
"""

import argparse
import asyncio
import itertools
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from aiohttp import web

_ADDED = re.compile(
    r"<system-reminder>.*?</system-reminder>|\[Request interrupted by user[^\]]*\]|\[Image: source: [^\]]*\]", re.DOTALL
)
_NOTICE = re.compile(r"<task-notification>.*?<summary>(.*?)</summary>", re.DOTALL)
_PLAN_PATH = re.compile(r"/[^\s\"`]+/plans/[\w-]+\.md")
_PIECE_CHARS: Final = 7
PLAN: Final = "# Plan\n\n1. Do it."
SLOW_WORDS: Final = 4000


@dataclass(frozen=True, slots=True)
class Text:
    """A text block."""

    text: str


@dataclass(frozen=True, slots=True)
class Thinking:
    """A thinking block."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool_use block."""

    name: str
    input: dict[str, Any]


Part = Text | Thinking | ToolCall


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What one request is answered with."""

    parts: tuple[Part, ...] = ()
    status: int = 200
    """Anything else is an HTTP error without content."""
    stop_reason: str | None = None
    pause_s: float = 0.0
    """Between two deltas."""
    break_after: int | None = None
    """Stream events after which the answer ends without its end."""
    break_with_error: bool = False
    """It ends with an `error` event and not by a lost connection."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One request for a message, as the scenarios see it."""

    body: dict[str, Any]

    @property
    def messages(self) -> list[dict[str, Any]]:
        """As sent."""
        messages: list[dict[str, Any]] = self.body.get("messages", [])
        return messages

    @property
    def typed(self) -> str:
        """The last text that a person typed, without what Claude Code adds around it."""
        texts = (_typed_text(message["content"]) for message in reversed(self.messages) if message["role"] == "user")
        return next((text for text in texts if text), "")

    @property
    def tool_results(self) -> list[str]:
        """The results that came since the model last spoke; empty where a person typed since."""
        results: list[str] = []
        for message in reversed(self.messages):
            if message["role"] == "assistant":
                break
            if message["role"] == "user" and _typed_text(message["content"]):
                return []
            if isinstance(message["content"], list):
                blocks = [block for block in message["content"] if block.get("type") == "tool_result"]
                results = [_flat(block.get("content")) for block in blocks] + results
        return results

    @property
    def notices(self) -> list[str]:
        """What ended in the background since the model last spoke."""
        told = ""
        for message in reversed(self.messages):
            if message["role"] == "assistant":
                break
            told = _flat(message["content"]) + told
        return _NOTICE.findall(told)

    @property
    def tools(self) -> frozenset[str]:
        """Names of the tools on offer; none for Claude Code's own side questions."""
        return frozenset(tool.get("name", "") for tool in self.body.get("tools", []))

    def says(self, text: str) -> bool:
        """Whether `text` stands anywhere in the messages."""
        return text in json.dumps(self.messages, ensure_ascii=False)


def _typed_text(content: str | list[dict[str, Any]]) -> str:
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
    texts = [_ADDED.sub("", block["text"]).strip() for block in blocks if block.get("type") == "text"]
    return next((text for text in reversed(texts) if text), "")


def _flat(content: object) -> str:
    if isinstance(content, list):
        return "\n".join(_flat(item.get("text", item.get("content", item.get("type")))) for item in content)
    return str(content)


Scenario = Callable[[Asked, str], Reply]


def _text(asked: Asked, rest: str) -> Reply:
    return Reply(parts=(Text(rest or "Hello."),))


def _think(asked: Asked, rest: str) -> Reply:
    return Reply(parts=(Thinking("First I think about it."), Text(rest or "Done thinking.")))


def _bash(asked: Asked, rest: str) -> Reply:
    return Reply(parts=(Text("I run it."), ToolCall("Bash", {"command": rest, "description": "Run a command"})))


def _later(asked: Asked, rest: str) -> Reply:
    call = ToolCall("Bash", {"command": rest, "description": "Run it", "run_in_background": True})
    return Reply(parts=(call,))


def _write(asked: Asked, rest: str) -> Reply:
    path, _, text = rest.partition(" ")
    return Reply(parts=(ToolCall("Write", {"file_path": path, "content": text}),))


def _slow(asked: Asked, rest: str) -> Reply:
    text = " ".join(f"word{number}" for number in range(SLOW_WORDS))
    return Reply(parts=(Text(text),), pause_s=0.01)


def _question(asked: Asked, rest: str) -> Reply:
    questions = [
        {
            "question": "Which colour?",
            "header": "Colour",
            "multiSelect": False,
            "options": [{"label": "Red", "description": "warm"}, {"label": "Blue", "description": "cold"}],
        },
        {
            "question": "Which sizes?",
            "header": "Sizes",
            "multiSelect": True,
            "options": [{"label": "S", "description": "small"}, {"label": "L", "description": "large"}],
        },
    ]
    return Reply(parts=(ToolCall("AskUserQuestion", {"questions": questions}),))


def _plan(asked: Asked, rest: str) -> Reply:
    # Claude Code names a file for the plan and puts its content into the question, whatever the call says.
    path = _PLAN_PATH.search(json.dumps(asked.body))
    written = (ToolCall("Write", {"file_path": path[0], "content": PLAN}),) if path else ()
    return Reply(parts=(*written, ToolCall("ExitPlanMode", {"plan": PLAN})))


def _todo(asked: Asked, rest: str) -> Reply:
    todos = [
        {"content": "First", "status": "completed", "activeForm": "Doing first"},
        {"content": "Second", "status": "in_progress", "activeForm": "Doing second"},
    ]
    return Reply(parts=(ToolCall("TodoWrite", {"todos": todos}),))


def _agents(asked: Asked, rest: str) -> Reply:
    calls = tuple(
        ToolCall(
            "Agent",
            {"description": f"Part {number}", "prompt": f"bash {command.strip()}", "subagent_type": "general-purpose"},
        )
        for number, command in enumerate(rest.split("|"), 1)
    )
    return Reply(parts=calls)


def _status(asked: Asked, rest: str) -> Reply:
    return Reply(status=int(rest))


_SCENARIOS: Final[dict[str, Scenario]] = {
    "text": _text,
    "think": _think,
    "bash": _bash,
    "later": _later,
    "notified": lambda asked, rest: Reply(parts=(Text(f"It is done: {rest}"),)),
    "write": _write,
    "slow": _slow,
    "question": _question,
    "plan": _plan,
    "todo": _todo,
    "agents": _agents,
    "status": _status,
    "long": lambda asked, rest: Reply(parts=(Text("cut short"),), stop_reason="max_tokens"),
    "refuse": lambda asked, rest: Reply(parts=(Text("I cannot."),), stop_reason="refusal"),
}
_ONCE: Final[dict[str, Callable[[str], Reply]]] = {
    "once": lambda rest: Reply(status=int(rest)),
    "drop": lambda rest: Reply(parts=(Text("lost half of this sentence"),), break_after=5),
    "broken": lambda rest: Reply(parts=(Text("lost half of this sentence"),), break_after=5, break_with_error=True),
}


@dataclass(slots=True)
class FakeMessagesApi:
    """The fake, as an asynchronous context manager: listens on 127.0.0.1 at `port` (0: any free one)."""

    port: int = 0
    requests: list[Asked] = field(default_factory=list)
    """Every request for a message with tools, in order: those of the conversation and its sub-agents."""
    may_break: asyncio.Event = field(default_factory=asyncio.Event)
    """Set. A test that clears it says itself when the connection of `drop` breaks: once what came before was seen."""
    _scripted: dict[str, list[Reply]] = field(default_factory=dict)
    _done_once: set[str] = field(default_factory=set)
    _numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))
    _runner: web.AppRunner | None = None

    def __post_init__(self) -> None:
        self.may_break.set()

    @property
    def url(self) -> str:
        """What `ANTHROPIC_BASE_URL` is set to."""
        return f"http://127.0.0.1:{self.port}"

    def script(self, typed: str, *replies: Reply) -> None:
        """Answer requests whose last typed text (or `notified ...`) contains `typed` with these, in turn, the last one
        for ever."""
        self._scripted[typed] = list(replies)

    async def __aenter__(self) -> "FakeMessagesApi":
        app = web.Application(client_max_size=64 << 20)
        app.router.add_post("/v1/messages", self._messages)
        app.router.add_post("/v1/messages/count_tokens", self._count_tokens)
        app.router.add_route("*", "/{path:.*}", self._anything)
        self._runner = web.AppRunner(app, shutdown_timeout=0.5)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    def reply_to(self, asked: Asked) -> Reply:
        """The answer to one request; see the module for the words."""
        said = "notified " + " / ".join(asked.notices) if asked.notices else asked.typed
        for words, replies in self._scripted.items():
            if words in said:
                return replies.pop(0) if len(replies) > 1 else replies[0]
        if asked.tool_results:
            return Reply(parts=(Text("The tool said: " + " / ".join(asked.tool_results)),))
        word, _, rest = said.partition(" ")
        if word in _ONCE:
            return self._once(said, _ONCE[word](rest))
        scenario = _SCENARIOS.get(word)
        return scenario(asked, rest) if scenario else Reply(parts=(Text(f"You said: {said}"),))

    def _once(self, typed: str, reply: Reply) -> Reply:
        if typed in self._done_once:
            return Reply(parts=(Text("back"),))
        self._done_once.add(typed)
        return reply

    async def _messages(self, request: web.Request) -> web.StreamResponse:
        asked = Asked(await request.json())
        if not asked.tools:
            # Claude Code's side questions (is the key good? a title?) are no part of the conversation.
            return await self._answer(request, asked, Reply(parts=(Text("ok"),)))
        self.requests.append(asked)
        return await self._answer(request, asked, self.reply_to(asked))

    async def _answer(self, request: web.Request, asked: Asked, reply: Reply) -> web.StreamResponse:
        if reply.status != 200:
            return web.json_response(_error(reply.status), status=reply.status, headers={"retry-after": "0"})
        message = self._message(asked, reply)
        if not asked.body.get("stream"):
            return web.json_response(message)
        return await self._stream(request, message, reply)

    def _message(self, asked: Asked, reply: Reply) -> dict[str, Any]:
        number = next(self._numbers)
        calls = any(isinstance(part, ToolCall) for part in reply.parts)
        return {
            "id": f"msg_fake_{id(self):x}_{number:04d}",
            "type": "message",
            "role": "assistant",
            "model": asked.body.get("model", "fake"),
            "content": [_block(part, f"toolu_fake_{number:04d}_{index}") for index, part in enumerate(reply.parts)],
            "stop_reason": reply.stop_reason or ("tool_use" if calls else "end_turn"),
            "stop_sequence": None,
            "usage": {
                "input_tokens": 10,
                "output_tokens": 5,
                "cache_read_input_tokens": 3,
                "cache_creation_input_tokens": 2,
            },
        }

    async def _stream(self, request: web.Request, message: dict[str, Any], reply: Reply) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "request-id": message["id"]})
        await response.prepare(request)
        try:
            for number, event in enumerate(_events(message)):
                if reply.break_after is not None and number >= reply.break_after:
                    await self._break(request, response, reply)
                    return response
                await response.write(_sse(event))
                if reply.pause_s and event["type"] == "content_block_delta":
                    await asyncio.sleep(reply.pause_s)
        except ConnectionError:
            pass  # the reader hung up: that is how an abort looks from here
        return response

    async def _break(self, request: web.Request, response: web.StreamResponse, reply: Reply) -> None:
        if reply.break_with_error:
            await response.write(_sse({"type": "error", **_error(529)}))
        elif request.transport is not None:
            # Data and the end of the connection that arrive together are seen as the end alone.
            await asyncio.sleep(0.05)
            await self.may_break.wait()
            request.transport.close()

    async def _count_tokens(self, request: web.Request) -> web.Response:
        return web.json_response({"input_tokens": max(1, len(await request.text()) // 4)})

    async def _anything(self, request: web.Request) -> web.Response:
        return web.json_response(_error(404), status=404)


def _error(status: int) -> dict[str, Any]:
    kinds = {
        401: "authentication_error",
        404: "not_found_error",
        429: "rate_limit_error",
        500: "api_error",
        529: "overloaded_error",
    }
    kind = kinds.get(status, "invalid_request_error")
    return {"type": "error", "error": {"type": kind, "message": f"the fake says {status}"}}


def _block(part: Part, tool_id: str) -> dict[str, Any]:
    if isinstance(part, Text):
        return {"type": "text", "text": part.text}
    if isinstance(part, Thinking):
        return {"type": "thinking", "thinking": part.text, "signature": "c2lnbmVk"}
    return {"type": "tool_use", "id": tool_id, "name": part.name, "input": part.input}


def _events(message: dict[str, Any]) -> list[dict[str, Any]]:
    """The stream that builds `message`, in the order of the real API."""
    start = {**message, "content": [], "stop_reason": None}
    events: list[dict[str, Any]] = [{"type": "message_start", "message": start}]
    for index, block in enumerate(message["content"]):
        events += _block_events(index, block)
    delta = {"stop_reason": message["stop_reason"], "stop_sequence": None}
    events.append({"type": "message_delta", "delta": delta, "usage": message["usage"]})
    events.append({"type": "message_stop"})
    return events


def _block_events(index: int, block: dict[str, Any]) -> list[dict[str, Any]]:
    start: dict[str, Any]
    if block["type"] == "text":
        start = {**block, "text": ""}
        deltas = [{"type": "text_delta", "text": piece} for piece in _pieces(block["text"])]
    elif block["type"] == "thinking":
        start = {**block, "thinking": "", "signature": ""}
        deltas = [{"type": "thinking_delta", "thinking": piece} for piece in _pieces(block["thinking"])]
        deltas.append({"type": "signature_delta", "signature": block["signature"]})
    else:
        start = {**block, "input": {}}
        deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in _pieces(json.dumps(block["input"]))]
    return [
        {"type": "content_block_start", "index": index, "content_block": start},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]


def _pieces(text: str) -> list[str]:
    return [text[at : at + _PIECE_CHARS] for at in range(0, len(text), _PIECE_CHARS)]


def _sse(event: dict[str, Any]) -> bytes:
    return f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()


async def _main(port: int) -> None:
    async with FakeMessagesApi(port=port) as api:
        print(f"fake Messages API (a test tool, no model) on {api.url}", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A fake of the Messages API, for tests.")
    parser.add_argument("--port", type=int, default=0, help="0: any free port")
    asyncio.run(_main(parser.parse_args().port))
