"""An ACP agent for tests, on nothing but the standard library, so that it can break every rule of the protocol.

`python acp_scripted_agent.py [OPTION...]`; options say what it announces and how it starts:

    --resume --load --fork    what it can do with sessions           --version N     the protocol it speaks
    --modes A,B               its modes, the first is current        --models A,B    its models, as a config option
    --login                   new sessions need a login              --login-until PATH  ... until that file is there
    --mute                    it never answers anything              --noise N       lines of garbage before anything
    --unknown                 earlier sessions cannot be gone on with

The first word of a message says what it does in that turn: see `Agent.turn`.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

Message = dict[str, Any]


class Agent:
    """One agent on stdin and stdout."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.session_id = ""
        self.request_id: Any = None
        self.asked = 0

    # --- the wire ----------------------------------------------------------------------------------------------

    def send(self, message: Message) -> None:
        self.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")

    def write(self, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()

    def read(self) -> Message:
        line = sys.stdin.readline()
        if not line:
            sys.exit(0)
        message: Message = json.loads(line)
        return message

    def answer(self, request_id: Any, result: Any) -> None:
        self.send({"id": request_id, "result": result})

    def refuse(self, request_id: Any, code: int, text: str, data: Any = None) -> None:
        self.send({"id": request_id, "error": {"code": code, "message": text, "data": data}})

    def update(self, kind: str, **rest: Any) -> None:
        params = {"sessionId": self.session_id, "update": {"sessionUpdate": kind, **rest}}
        self.send({"method": "session/update", "params": params})

    def say(self, text: str, kind: str = "agent_message_chunk", **rest: Any) -> None:
        self.update(kind, content={"type": "text", "text": text}, **rest)

    def ask(self, method: str, **params: Any) -> Any:
        """The client's result of a call; None where it refused it."""
        self.asked += 1
        name = f"ask-{self.asked}"
        self.send({"id": name, "method": method, "params": {"sessionId": self.session_id, **params}})
        while True:
            message = self.read()
            if message.get("id") == name:
                return message.get("result")

    def wait_for_cancel(self) -> None:
        while self.read().get("method") != "session/cancel":
            pass

    # --- the protocol ------------------------------------------------------------------------------------------

    def serve(self) -> None:
        self.write("".join(f"this is no message {number}\n" for number in range(self.options.noise)))
        while True:
            message = self.read()
            if self.options.mute or "id" not in message:
                continue
            self.request_id = message["id"]
            handle = getattr(self, "on_" + message["method"].replace("/", "_"))
            handle(message["params"])

    def on_initialize(self, params: Message) -> None:
        options = self.options
        sessions: Message = {}
        if options.resume:
            sessions["resume"] = {}
        if options.fork:
            sessions["fork"] = {}
        can = {"loadSession": options.load, "sessionCapabilities": sessions}
        can["promptCapabilities"] = {"image": True, "embeddedContext": False}
        methods = [
            {"id": "web", "name": "Log in with Example", "description": "Opens a browser"},
            {"id": "key", "name": "Use a key", "type": "env_var", "vars": [{"name": "EXAMPLE_KEY"}]},
        ]
        self.answer(
            self.request_id,
            {
                "protocolVersion": options.version,
                "agentCapabilities": can,
                "authMethods": methods,
                "agentInfo": {"name": "scripted", "title": "Scripted", "version": "1"},
            },
        )

    def on_session_new(self, params: Message) -> None:
        waits = self.options.login_until is not None and not Path(self.options.login_until).exists()
        if self.options.login or waits:
            self.refuse(self.request_id, -32000, "Authentication required")
            return
        self.enter(f"session-{os.getpid()}")

    def on_session_resume(self, params: Message) -> None:
        if self.options.unknown:
            self.refuse(self.request_id, -32002, "Resource not found")
            return
        self.enter(params["sessionId"])

    def on_session_load(self, params: Message) -> None:
        self.session_id = params["sessionId"]
        self.say("what was said long ago")
        self.enter(params["sessionId"])

    def on_session_fork(self, params: Message) -> None:
        self.enter(params["sessionId"] + "-fork")

    def enter(self, session_id: str) -> None:
        self.session_id = session_id
        result: Message = {"sessionId": session_id}
        if self.options.modes:
            modes = [{"id": mode, "name": mode.title()} for mode in self.options.modes]
            result["modes"] = {"currentModeId": self.options.modes[0], "availableModes": modes}
        if self.options.models:
            values = [{"value": model, "name": model.title()} for model in self.options.models]
            result["configOptions"] = [
                {
                    "id": "the-model",
                    "name": "Model",
                    "category": "model",
                    "type": "select",
                    "currentValue": self.options.models[0],
                    "options": values,
                }
            ]
        self.answer(self.request_id, result)
        command = {"name": "review", "description": "Look at it", "input": {"hint": "file"}}
        self.update("available_commands_update", availableCommands=[command])

    def on_session_set_mode(self, params: Message) -> None:
        self.mode = params["modeId"]
        self.answer(self.request_id, {})

    def on_session_set_config_option(self, params: Message) -> None:
        self.model = params["value"]
        self.answer(self.request_id, {"configOptions": []})

    mode = "never set"
    model = "never set"

    def on_session_prompt(self, params: Message) -> None:
        name = self.request_id
        self.prompt = params["prompt"]
        words = str(self.prompt[-1]["text"]).split(maxsplit=1)
        stop = getattr(self, "turn_" + words[0].replace("-", "_"))(words[1] if len(words) > 1 else "")
        if stop is not False:
            self.answer(name, {"stopReason": stop or "end_turn"})

    # --- turns: None ends well, a text is the stop reason, False answers nothing ---------------------------------

    def turn_say(self, text: str) -> None:
        for word in text.split():
            self.say(word + " ")

    def turn_end(self, reason: str) -> str:
        return reason

    def turn_modes(self, _: str) -> None:
        self.say(f"mode={self.mode} model={self.model}")

    def turn_environment(self, _: str) -> None:
        self.say(json.dumps(dict(os.environ)))

    def turn_prompt(self, _: str) -> None:
        self.say(json.dumps(self.prompt))

    def turn_usage(self, amount: str) -> bool:
        self.update("usage_update", used=10, size=100, cost={"amount": float(amount), "currency": "USD"})
        usage = {"totalTokens": 12, "inputTokens": 7, "outputTokens": 5, "cachedReadTokens": 3}
        self.answer(self.request_id, {"stopReason": "end_turn", "usage": usage})
        return False

    def turn_permission(self, kinds: str) -> None:
        options = [
            {"optionId": f"the-{number}", "name": f"{kind} {number}", "kind": kind}
            for number, kind in enumerate(kinds.split())
        ]
        call = {"toolCallId": "call-1", "title": "rm -r build", "kind": "execute", "rawInput": {"command": "rm"}}
        result = self.ask("session/request_permission", toolCall=call, options=options)
        self.say(json.dumps(result))

    def turn_many_permissions(self, count: str) -> str:
        options = [{"optionId": "yes", "name": "Yes", "kind": "allow_once"}]
        for number in range(int(count)):
            call = {"toolCallId": f"call-{number}", "title": "Read", "kind": "read"}
            params = {"sessionId": self.session_id, "toolCall": call, "options": options}
            self.send({"id": f"many-{number}", "method": "session/request_permission", "params": params})
        answers: list[str] = []
        while len(answers) < int(count):
            message = self.read()
            if str(message.get("id")).startswith("many-"):
                answers.append(message["result"]["outcome"]["outcome"])
        return "cancelled"

    def turn_plan_review(self, _: str) -> None:
        self.update("current_mode_update", currentModeId="plan")
        options = [
            {"optionId": "bypass", "name": "Yes, and ask nothing", "kind": "allow_always"},
            {"optionId": "default", "name": "Yes, ask before edits", "kind": "allow_once"},
            {"optionId": "plan", "name": "No", "kind": "reject_once"},
        ]
        call = {"toolCallId": "plan-1", "title": "Ready?", "kind": "switch_mode", "rawInput": {"plan": "1. Do it."}}
        result = self.ask("session/request_permission", toolCall=call, options=options)
        self.update("current_mode_update", currentModeId="default")
        self.say(json.dumps(result))

    def turn_mode(self, mode: str) -> None:
        self.update("current_mode_update", currentModeId=mode)
        # Whatever the client makes of it comes before the next message.
        message = self.read()
        self.say(f"{message.get('method')} {message.get('params', {}).get('modeId')}")
        self.answer(message.get("id"), {})

    def turn_await_mode(self, _: str) -> None:
        self.say("ready, ")
        message = self.read()
        self.answer(message["id"], {})
        self.update("current_mode_update", currentModeId=message["params"]["modeId"])
        self.say("then " + message["params"]["modeId"])

    def turn_form(self, _: str) -> None:
        schema = {
            "type": "object",
            "properties": {
                "colour": {
                    "type": "string",
                    "title": "Colour",
                    "description": "Which colour?",
                    "enum": ["red", "blue"],
                },
                "count": {"type": "integer", "description": "How many?"},
            },
        }
        result = self.ask("elicitation/create", mode="form", message="Please say", requestedSchema=schema)
        self.say(json.dumps(result))

    def turn_read_file(self, path: str) -> None:
        self.asked += 1
        self.send({"id": "read", "method": "fs/read_text_file", "params": {"sessionId": "s", "path": path}})
        self.say(str(self.read()["error"]["code"]))

    def turn_die(self, _: str) -> None:
        sys.stderr.write("it all went wrong\n")
        sys.exit(7)

    def turn_kill(self, _: str) -> None:
        self.say("half of ")
        os.kill(os.getpid(), signal.SIGKILL)

    def turn_error(self, text: str) -> bool:
        self.refuse(self.request_id, -32603, "Internal error", {"details": text})
        return False

    def turn_login(self, _: str) -> bool:
        self.refuse(self.request_id, -32000, "Authentication required")
        return False

    def turn_nonsense(self, _: str) -> bool:
        self.answer(self.request_id, {"stopReason": "because"})
        return False

    def turn_wait(self, _: str) -> str:
        self.say("waiting")
        self.wait_for_cancel()
        return "cancelled"

    def turn_hang(self, _: str) -> bool:
        self.say("hanging")
        while True:
            self.read()

    def turn_deaf(self, _: str) -> bool:
        self.say("hanging")
        signal.pause()
        return False

    def turn_child(self, path: str) -> bool:
        child = subprocess.Popen(["sleep", "600"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        Path(path).write_text(str(child.pid))
        self.say("started")
        while True:
            self.read()

    def turn_orphan(self, path: str) -> None:
        child = subprocess.Popen(["sleep", "600"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        Path(path).write_text(str(child.pid))
        os._exit(3)

    def turn_garbage(self, count: str) -> None:
        self.say("before ")
        for number in range(int(count)):
            self.write(("{", "[1,2]", '"text"', "\0", '{"id": []}', '{"method": 3}', "[" * 2000)[number % 7] + "\n")
        self.send({"method": "session/update", "params": None})
        self.send(
            {"method": "session/update", "params": {"sessionId": self.session_id, "update": {"sessionUpdate": "x"}}}
        )
        self.send({"method": "something/else", "params": {}})
        self.send({"id": "nobody", "error": "text instead of an object"})
        self.update("tool_call", toolCallId=7)
        self.say("after")

    def turn_line(self, mebibytes: str) -> None:
        for _ in range(int(mebibytes)):
            self.write("x" * (1 << 20))
        self.say("after")

    def turn_flood(self, mebibytes: str) -> None:
        text = "0123456789abcdef" * 4096
        for _ in range(int(mebibytes) * 16):
            self.say(text)

    def turn_twice(self, _: str) -> bool:
        self.say("once")
        self.answer(self.request_id, {"stopReason": "end_turn"})
        self.say(" and never again")
        self.answer(self.request_id, {"stopReason": "refusal"})
        return False

    def turn_updates(self, text: str) -> None:
        """Session updates as they stand in the message, as JSON lines."""
        for line in text.splitlines():
            update = json.loads(line)
            self.send({"method": "session/update", "params": {"sessionId": self.session_id, "update": update}})


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("resume", "load", "fork", "login", "mute", "unknown"):
        parser.add_argument(f"--{name}", action="store_true")
    parser.add_argument("--version", type=int, default=1)
    parser.add_argument("--noise", type=int, default=0)
    parser.add_argument("--login-until")
    for name in ("modes", "models"):
        parser.add_argument(f"--{name}", type=lambda text: text.split(","), default=[])
    Agent(parser.parse_args()).serve()


if __name__ == "__main__":
    main()
