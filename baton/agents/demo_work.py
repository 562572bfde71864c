"""The demo agent's longest script: what the work of an agent looks like, message by message."""

import asyncio

from baton.agents.demo_stage import OPENING, Stage, Tool
from baton.core.text import Json


async def work(stage: Stage) -> None:
    """What an agent's work looks like: a to-do list, a file read, an edit, a command that fails, two sub-agents."""
    todos = ["Read the relay", "Mend it", "Have it looked at"]
    await stage.tell("this is what work looks like; nothing is really done.")
    await _use(stage, "TodoWrite", kind="think", title="3 to-dos", arguments={"todos": _todos(todos, done=1)})
    path: dict[str, Json] = {"file_path": "src/relay.py"}
    await _use(stage, "Read", kind="read", title="src/relay.py", arguments=path, result="def pass_on(baton): ...\n")
    edit: dict[str, Json] = {
        **path,
        "old_string": "def pass_on(baton): ...",
        "new_string": "def pass_on(baton):\n    return baton",
    }
    await _use(stage, "Edit", kind="edit", title="src/relay.py", arguments=edit, result="The file was changed.")
    command: dict[str, Json] = {"command": "make test"}
    failure = "make: *** [test] Error 1"
    await _use(stage, "Bash", kind="execute", title="make test", arguments=command, result=failure, is_error=True)
    speech = stage.begin()
    await stage.say(speech, OPENING + "two sub-agents look at it, at the same time.")
    agents = [
        stage.use(
            speech,
            "Task",
            kind="task",
            title=f"Review the {part}",
            arguments={"description": f"Review the {part}", "prompt": f"Look at the {part} and say what you find."},
        )
        for part in ("code", "tests")
    ]
    stage.finish(speech)
    await asyncio.gather(*(_review(stage, agent) for agent in agents))
    await _use(stage, "TodoWrite", kind="think", title="3 to-dos", arguments={"todos": _todos(todos, done=3)})
    await stage.tell("the sub-agents have found nothing, as was to be expected.")


async def _review(stage: Stage, agent: Tool) -> None:
    """A sub-agent: messages of its own, with a tool of its own."""
    await _use(
        stage, "Grep", kind="search", title="TODO", arguments={"pattern": "TODO"}, result="src/relay.py:1", within=agent
    )
    await stage.pause(stage.parameters["seconds"])
    speech = stage.begin(within=agent)
    await stage.say(speech, OPENING + "I am a sub-agent, and I have found nothing.")
    stage.finish(speech)
    stage.result(agent, "Nothing was found.")


async def _use(
    stage: Stage,
    name: str,
    *,
    kind: str,
    title: str,
    arguments: dict[str, Json],
    result: str = "Done.",
    is_error: bool = False,
    within: Tool | None = None,
) -> None:
    """A message with one tool call, and its result."""
    speech = stage.begin(within=within)
    call = stage.use(speech, name, kind=kind, title=title, arguments=arguments)
    stage.finish(speech)
    await stage.pause(0.05)
    stage.result(call, result, is_error=is_error)


def _todos(texts: list[str], *, done: int) -> Json:
    return [
        {"content": text, "status": "completed" if at < done else "in_progress" if at == done else "pending"}
        for at, text in enumerate(texts)
    ]
