"""A bridge by somebody else: written from docs/protocol.md section 5 alone, importing nothing of Baton.

Run as a script. It works on no agent; it answers each `claude:execute` with a text that `expected_text` foretells.
What it does is said in the message, in any order, all optional:

    words=200     how many words it says (default 20), one per delta
    rate=50       words per second (default --rate; 0: as fast as the link takes them)
    think         thinks aloud first, in a block of its own
    ask           asks for permission in the middle, and waits for the answer
    tool          uses a tool after the text, with input, progress and result
    fail          ends with claude:error instead of claude:complete

Frames stay in memory until they are acknowledged, and are sent again after each reconnect. One line per event goes
to stderr. SIGTERM ends it at once, without a word to the server. Exit code 3: the server refuses it for good.
"""

import argparse
import asyncio
import collections
import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

import aiohttp

SUBPROTOCOL = "baton.bridge.v1"
FINAL_CODES = {4401: "bad credential", 4409: "another process has this bridgeId", 4426: "version not spoken"}
FINAL_TYPES = ("claude:complete", "claude:error", "claude:aborted")

Frame = dict[str, Any]
Plan = dict[str, Any]


def word(index: int) -> str:
    """The word at this place; every tenth is not ASCII, so that offsets in UTF-16 units are put to the test."""
    tail = {0: "🌉", 5: "é"}.get(index % 10, "")
    return f"w{index}{tail}" + ("\n" if index % 25 == 24 else " ")


def expected_text(words: int) -> str:
    """The whole text of an answer of so many words."""
    return "".join(word(index) for index in range(words))


def utf16_length(text: str) -> int:
    """Length as JavaScript counts."""
    return len(text.encode("utf-16-le")) // 2


def plan_of(message: str, default_rate: float) -> Plan:
    """What the message asks for."""
    options = dict(part.split("=", 1) for part in message.split() if "=" in part)
    flags = set(message.split())
    return {
        "words": int(options.get("words", 20)),
        "rate": float(options.get("rate", default_rate)),
        **{flag: flag in flags for flag in ("think", "ask", "tool", "fail")},
    }


def log(event: str, **fields: object) -> None:
    """One line per event."""
    print(event, *(f"{name}={value}" for name, value in fields.items()), file=sys.stderr, flush=True)


class Run:
    """One run: its frames that are not on disk yet, and what it waits for."""

    def __init__(self, request_id: str, last_seq: int) -> None:
        self.request_id = request_id
        self.last_seq = last_seq
        self.acked = last_seq
        self.due: collections.deque[tuple[int, str]] = collections.deque()
        self.sent: collections.deque[tuple[int, str]] = collections.deque()
        self.open_prompts: dict[str, asyncio.Future[str]] = {}
        self.has_ended = False
        self.task: asyncio.Task[None] | None = None

    def is_over(self) -> bool:
        """Its end is on disk."""
        return self.has_ended and not self.due and not self.sent


class Bridge:
    """The bridge: its runs outlive its links."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.instance_id = os.urandom(8).hex()
        self.runs: dict[str, Run] = {}
        self.past: dict[str, int] = {}
        self.acks: dict[str, int] = {}
        self.window = 0
        self.in_flight = 0
        self.is_welcome = False
        self.has_news = asyncio.Event()
        self.control: collections.deque[Frame] = collections.deque()
        self.tasks: set[asyncio.Task[None]] = set()

    # --- links ---------------------------------------------------------------------------------------------------

    async def serve(self) -> int:
        """Keep a link up, with growing pauses; the exit code where the server refuses this bridge for good."""
        pause = self.args.retry
        async with aiohttp.ClientSession() as session:
            while True:
                code = None
                try:
                    code = await self.live(session)
                    pause = self.args.retry
                except (TimeoutError, aiohttp.ClientError, OSError) as error:
                    log("unreachable", error=type(error).__name__)
                if code in FINAL_CODES:
                    log("refused", code=code, why=FINAL_CODES[code])
                    return 3
                await asyncio.sleep(pause * random.uniform(0.5, 1.0))
                pause = min(pause * 2, 30.0 if self.args.retry >= 1 else 1.0)

    async def live(self, session: aiohttp.ClientSession) -> int | None:
        """One link, to its end; the close code."""
        headers = {"Authorization": f"Bearer {self.args.token}"} if self.args.token else {}
        connecting = session.ws_connect(
            self.args.url,
            headers=headers,
            protocols=(SUBPROTOCOL,),
            max_msg_size=0,
            timeout=aiohttp.ClientWSTimeout(ws_close=2),
        )
        async with connecting as socket:
            await self.say_hello(socket)
            writing = asyncio.create_task(self.write(socket))
            try:
                async for message in socket:
                    if message.type is aiohttp.WSMsgType.TEXT:
                        self.receive(json.loads(message.data))
            finally:
                writing.cancel()
                await asyncio.gather(writing, return_exceptions=True)
                self.lose_link()
            log("disconnected", code=socket.close_code)
            return socket.close_code

    async def say_hello(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        known = [
            {"requestId": run.request_id, "lastSeq": run.last_seq, "prompts": list(run.open_prompts)}
            for run in self.runs.values()
        ]
        hello = {
            "type": "hello",
            "protocol": 1,
            "bridgeId": self.args.bridge_id,
            "instanceId": self.instance_id,
            "name": self.args.bridge_id,
            "version": "0",
            "hostname": "outside",
            "agents": [
                {"id": self.args.agent, "title": "Outside", "available": True, "models": [], "modes": ["default"]}
            ],
            "maxConcurrentRequests": self.args.max_concurrent,
            "workspaces": [],
            "allowBypass": False,
            "runs": known,
        }
        await socket.send_str(json.dumps(hello))
        log("hello", runs=len(known))

    def lose_link(self) -> None:
        """What was under way is due again; answers to questions of that link are not."""
        self.is_welcome = False
        self.in_flight = 0
        self.control.clear()
        for run in self.runs.values():
            run.due.extendleft(reversed(run.sent))
            run.sent.clear()

    async def write(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        """Send what may be sent, whenever there is something."""
        while True:
            await self.has_news.wait()
            self.has_news.clear()
            while self.control:
                await socket.send_str(json.dumps(self.control.popleft()))
            if self.is_welcome:
                await self.write_runs(socket)

    async def write_runs(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        """One frame of each run in turn, while the window has room; a frame larger than the window goes alone."""
        while True:
            ready = [run for run in self.runs.values() if run.due]
            if not ready:
                return
            for run in ready:
                if not run.due:
                    continue
                encoded = run.due[0][1]
                size = len(encoded.encode())
                if self.in_flight and self.in_flight + size > self.window:
                    return
                run.sent.append(run.due.popleft())
                self.in_flight += size
                await socket.send_str(encoded)

    # --- what comes in -------------------------------------------------------------------------------------------

    def receive(self, frame: Frame) -> None:
        """Act on a frame of the server; what it does not know is passed over."""
        handlers: dict[str, Callable[[Frame], object]] = {
            "welcome": self.on_welcome,
            "ack": lambda frame: self.acknowledge(frame["acks"]),
            "claude:execute": self.on_execute,
            "claude:abort": self.on_abort,
            "permission:response": self.on_response,
            "permission:set-mode": lambda frame: log("mode", requestId=frame["requestId"], mode=frame["mode"]),
            "rpc": self.on_rpc,
            "ping": lambda frame: self.control.append({"type": "pong", "t": frame["t"]}),
        }
        handler = handlers.get(str(frame.get("type")))
        if handler is not None:
            handler(frame)
            self.has_news.set()

    def on_welcome(self, frame: Frame) -> None:
        self.is_welcome = True
        self.window = frame["window"]
        self.acks = frame["acks"]
        for run in list(self.runs.values()):
            ack = self.acks.get(run.request_id)
            if ack is not None and ack < run.acked:
                self.lose_run(run, ack)
            elif ack is not None:
                run.last_seq = max(run.last_seq, ack)
        self.acknowledge(self.acks)
        log("welcome", epoch=frame["epoch"], runs=len(self.runs))

    def acknowledge(self, acks: dict[str, int]) -> None:
        for request_id, seq in acks.items():
            run = self.runs.get(request_id)
            if run is None:
                continue
            while run.sent and run.sent[0][0] <= seq:
                self.in_flight -= len(run.sent.popleft()[1].encode())
            while run.due and run.due[0][0] <= seq:
                run.due.popleft()
            run.acked = max(run.acked, min(seq, run.last_seq))
            if run.is_over():
                self.past[request_id] = run.last_seq
                del self.runs[request_id]
                log("settled", requestId=request_id, seq=seq)

    def lose_run(self, run: Run, ack: int) -> None:
        """The server has gone back behind what it had acknowledged: the frames in between are gone."""
        if run.task is not None:
            run.task.cancel()
        run.due.clear()
        run.sent.clear()
        run.last_seq = run.acked = ack
        run.has_ended = False
        self.say_lost(run)

    def on_execute(self, frame: Frame) -> None:
        request_id = frame["requestId"]
        if request_id in self.runs:
            log("execute-again", requestId=request_id)
            return
        if request_id in self.past:
            run = self.runs[request_id] = Run(request_id, self.acks.get(request_id, self.past[request_id]))
            self.say_lost(run)
            return
        log("execute", requestId=request_id)
        run = self.runs[request_id] = Run(request_id, self.acks.get(request_id, 0))
        run.task = asyncio.create_task(self.work(run, frame))
        self.tasks.add(run.task)
        run.task.add_done_callback(self.tasks.discard)
        # Also for a task that was cancelled before it began; a run that has said its end says no more.
        run.task.add_done_callback(lambda _: self.say(run, "claude:aborted"))

    def on_abort(self, frame: Frame) -> None:
        run = self.runs.get(frame["requestId"])
        if run is not None and run.task is not None and not run.has_ended:
            log("abort", requestId=run.request_id)
            run.task.cancel()

    def on_response(self, frame: Frame) -> None:
        run = self.runs.get(frame["requestId"])
        answer = None if run is None else run.open_prompts.get(frame["promptId"])
        if answer is not None and not answer.done():
            log("answer", requestId=frame["requestId"], option=frame["selectedOption"])
            answer.set_result(frame["selectedOption"])

    def on_rpc(self, frame: Frame) -> None:
        method, params = frame["method"], frame.get("params") or {}
        result: Frame = {"type": "rpc:result", "id": frame["id"], "ok": True}
        if method == "echo":
            result["result"] = frame.get("params")
        elif method == "run.status":
            run = self.runs.get(str(params.get("requestId")))
            waits = None if run is None else ("person" if run.open_prompts else "model")
            result["result"] = None if run is None else {"waitsFor": waits, "lastEventAgeS": 0, "tools": []}
        else:
            result |= {"ok": False, "error": {"code": "not_found", "message": f"No {method} here", "retryable": False}}
        self.control.append(result)

    # --- what it says --------------------------------------------------------------------------------------------

    def say(self, run: Run, type_: str, **fields: object) -> None:
        """The run's next frame: numbered, kept until it is on disk."""
        if run.has_ended:
            return
        run.last_seq += 1
        frame = {"type": type_, "requestId": run.request_id, "seq": run.last_seq, **fields}
        run.has_ended = type_ in FINAL_TYPES
        run.due.append((run.last_seq, json.dumps(frame, ensure_ascii=False)))
        if run.has_ended:
            run.open_prompts.clear()
            log(type_, requestId=run.request_id, seq=run.last_seq)
        self.has_news.set()

    def say_lost(self, run: Run) -> None:
        error = {"code": "bridge_lost", "message": "Nobody works on this run any more", "retryable": True}
        self.say(run, "claude:error", error=error)

    async def work(self, run: Run, task: Frame) -> None:
        """Answer one message."""
        plan = plan_of(task["message"], self.args.rate)
        message_id = f"message-{run.request_id[:80]}"
        session_id = task.get("sessionId") or f"session-{run.request_id[:80]}"
        began = time.monotonic()
        self.say(run, "claude:started", sessionId=session_id)
        self.events(run, {"type": "message.started", "messageId": message_id})
        await self.speak(run, message_id, plan)
        claude_data = {"text": expected_text(plan["words"])}
        self.events(run, {"type": "message.done", "messageId": message_id, "claudeData": claude_data})
        await self.finish(run, plan, session_id, began)

    async def speak(self, run: Run, message_id: str, plan: Plan) -> None:
        block = 0
        if plan["think"]:
            await self.say_words(run, message_id, plan, block, "thinking", ask=False)
            block += 1
        await self.say_words(run, message_id, plan, block, "text", ask=plan["ask"])
        if plan["tool"]:
            self.use_tool(run, message_id, block + 1)

    async def say_words(self, run: Run, message_id: str, plan: Plan, block: int, kind: str, *, ask: bool) -> None:
        """Each word is a delta, at its time; what is late is said at once."""
        offset, began, paused = 0, time.monotonic(), 0.0
        for index in range(plan["words"]):
            if ask and index == plan["words"] // 2:
                asked = time.monotonic()
                await self.ask(run)
                paused = time.monotonic() - asked
            text = word(index)
            self.events(
                run, {"type": f"{kind}.delta", "messageId": message_id, "block": block, "offset": offset, "text": text}
            )
            offset += utf16_length(text)
            due = began + paused + (index + 1) / plan["rate"] if plan["rate"] else 0.0
            if due > time.monotonic():
                await asyncio.sleep(due - time.monotonic())
            elif index % 20 == 0:
                await asyncio.sleep(0)
        done = {"type": f"{kind}.done", "messageId": message_id, "block": block, "text": expected_text(plan["words"])}
        self.events(run, done)

    def use_tool(self, run: Run, message_id: str, block: int) -> None:
        """A tool call from its start to its result."""
        tool = {"messageId": message_id, "id": f"tool-{run.request_id[:80]}"}
        self.events(
            run,
            {"type": "tool.started", **tool, "block": block, "name": "Bash", "kind": "execute", "title": "ls"},
            {"type": "tool.input", **tool, "block": block, "input": {"command": "ls"}},
        )
        self.events(run, {"type": "tool.progress", **tool, "text": "one\n"})
        self.events(run, {"type": "tool.done", **tool, "result": "one\ntwo\n", "isError": False})

    async def ask(self, run: Run) -> str:
        """Ask for permission; the option that was chosen."""
        prompt_id = f"prompt-{run.request_id[:80]}"
        answer = run.open_prompts[prompt_id] = asyncio.get_running_loop().create_future()
        prompt = {
            "promptId": prompt_id,
            "type": "tool_permission",
            "title": "Go on?",
            "message": "The outside bridge asks whether it may go on.",
            "toolName": "Bash",
            "input": {"command": "ls"},
            "options": [
                {"id": "allow_once", "label": "Allow", "kind": "allow"},
                {"id": "deny", "label": "Deny", "kind": "deny"},
            ],
        }
        self.say(run, "permission:request", prompt=prompt)
        log("ask", requestId=run.request_id)
        try:
            option: str = await answer
        except asyncio.CancelledError:
            self.say(run, "permission:cancel", promptId=prompt_id)
            raise
        finally:
            run.open_prompts.pop(prompt_id, None)
        self.say(run, "permission:applied", promptId=prompt_id)
        return option

    async def finish(self, run: Run, plan: Plan, session_id: str, began: float) -> None:
        if plan["fail"]:
            error = {"code": "agent_failed", "message": "It was asked to fail", "retryable": False}
            self.say(run, "claude:error", error=error)
            return
        usage = {"inputTokens": 1, "outputTokens": plan["words"], "cacheReadTokens": 0, "cacheWriteTokens": 0}
        result = {
            "outcome": "completed",
            "sessionId": session_id,
            "usage": usage,
            "costUsd": 0.0,
            "durationMs": int(1000 * (time.monotonic() - began)),
            "numTurns": 1,
        }
        self.say(run, "claude:complete", result=result)

    def events(self, run: Run, *events: Frame) -> None:
        """Stream events as one frame."""
        self.say(run, "claude:stream", events=list(events))


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--url", required=True, help="ws://host:port/bridge")
    parser.add_argument("--token", default="", help="credential of the role bridge")
    parser.add_argument("--bridge-id", default="outside")
    parser.add_argument("--agent", default="demo", help="the agent that it says it has")
    parser.add_argument("--rate", type=float, default=50.0, help="words per second; 0: at once")
    parser.add_argument("--retry", type=float, default=0.1, help="seconds before the first reconnect")
    parser.add_argument("--max-concurrent", type=int, default=100)
    return parser.parse_args()


async def main() -> int:
    """Serve until SIGTERM; the exit code."""
    serving = asyncio.ensure_future(Bridge(parse_args()).serve())
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, serving.cancel)
    try:
        return await serving
    except asyncio.CancelledError:
        log("terminated")
        # Tasks of runs would say that they were aborted; a bridge that is ended says nothing.
        os._exit(0)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
