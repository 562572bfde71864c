"""Claude Code's own session files: `claude_history` and `claude_transcript`."""

import json
import os
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from baton.agents import claude_history
from baton.agents.claude import ClaudeAgent
from baton.agents.claude_history import list_sessions, read_session
from baton.agents.options import AgentOptions
from baton.core.errors import InvalidRequest, NotFound
from baton.core.ports import KeepsSessions
from tests.support.session_files import SESSION, SessionFile, all_pages, text, tool


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "my project"
    place.mkdir()
    return place


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "claude"


@pytest.fixture
def session(config: Path, folder: Path) -> SessionFile:
    return SessionFile(config, folder)


def listed(config: Path, folder: Path, cursor: str | None = None, limit: int | None = None) -> Any:
    return list_sessions({"CLAUDE_CONFIG_DIR": str(config)}, str(folder), cursor, limit)


def messages(session: SessionFile, limit: int = 3) -> list[dict[str, Any]]:
    environment = {"CLAUDE_CONFIG_DIR": str(session.path.parents[2])}
    folder = str(session.folder)
    return list(all_pages(lambda c, n: read_session(environment, folder, session.session_id, c, n), limit))


def shown(session: SessionFile) -> list[tuple[str, list[Any]]]:
    """Role and texts of each message; of a tool its name."""
    return [(m["role"], [b.get("text", b.get("name")) for b in m["blocks"]]) for m in messages(session)]


# --- what was said -------------------------------------------------------------------------------------------------


def test_a_conversation_is_told_in_its_order(session: SessionFile) -> None:
    session.person("Hello")
    session.noise()
    session.claude({"type": "thinking", "thinking": "Hm."}, text("Hi."))
    session.person([text("And"), text("more")])
    session.claude(text("Yes."), name="msg_2")
    assert shown(session) == [
        ("user", ["Hello"]),
        ("assistant", ["Hm.", "Hi."]),
        ("user", ["And\n\nmore"]),
        ("assistant", ["Yes."]),
    ]
    first, second, *_ = messages(session)
    assert (first["at"], first["id"]) == ("2026-01-02T03:04:01.000Z", "uuid-1")
    assert (second["id"], second["model"]) == ("msg_1", "claude-x")
    assert second["usage"] == {"inputTokens": 3, "outputTokens": 4, "cacheReadTokens": 5, "cacheWriteTokens": 0}


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 100])
def test_pages_of_any_size_give_the_same(session: SessionFile, limit: int) -> None:
    for number in range(7):
        session.person(f"question {number}")
        session.claude(tool(f"t{number}", command="ls"), tool(f"u{number}", command="pwd"), name=f"m{number}")
        session.result(f"t{number}", "a file")
        session.noise(5000)
        session.result(f"u{number}", [text("a folder")], is_error=True)
    assert messages(session, limit) == messages(session, 1000)
    assert len(messages(session, limit)) == 14


def test_a_tools_result_stands_in_its_call(session: SessionFile) -> None:
    session.claude(tool("t1", command="ls -la"), tool("t2", "Read", file_path="a.py"), tool("t3"))
    session.result("t2", [text("line 1"), text("line 2")])
    session.result("t1", "no such folder", is_error=True)
    session.claude(text("So."), name="msg_2")
    blocks = messages(session)[0]["blocks"]
    assert [(b["name"], b["kind"], b["title"], b["status"], b["result"]) for b in blocks] == [
        ("Bash", "execute", "ls -la", "failed", "no such folder"),
        ("Read", "read", "a.py", "completed", "line 1\nline 2"),
        ("Bash", "execute", "", "failed", None),
    ]


def test_what_is_not_for_people_is_left_out(session: SessionFile) -> None:
    session.person("Hello")
    session.person("told to the model", isMeta=True)
    session.person("to the sub-agent", isSidechain=True)
    session.claude(text("from the sub-agent"), name="sub", isSidechain=True)
    session.person("<system-reminder>told to the model</system-reminder>")
    session.person("<task-notification>a task is over</task-notification>")
    session.add(type="attachment", attachment={"type": "date", "date": "today"})
    session.claude(text("Hi."))
    assert shown(session) == [("user", ["Hello"]), ("assistant", ["Hi."])]


def test_a_sub_agent_in_between_does_not_break_an_answer(session: SessionFile) -> None:
    session.claude(tool("t1", "Task", prompt="look"))
    session.claude(text("from the sub-agent"), name="sub", isSidechain=True)
    session.result("t1", "found")
    assert [b["result"] for m in messages(session, 1) for b in m["blocks"]] == ["found"]


def test_commands_interruptions_and_summaries_are_told_as_what_they_are(session: SessionFile) -> None:
    session.person("<command-name>/review</command-name><command-args>now</command-args>")
    session.person("<local-command-stdout>\x1b[1mbold\x1b[0m result</local-command-stdout>")
    session.person([text("[Request interrupted by user]")])
    session.person("What came before, in short", isCompactSummary=True)
    session.add(type="attachment", attachment={"type": "queued_command", "prompt": [text("also this")]})
    session.person([{"type": "image", "source": {"data": "AAAA"}}, text("look")])
    assert shown(session) == [
        ("user", ["/review now"]),
        ("system", ["bold result"]),
        ("system", ["[Request interrupted by user]"]),
        ("system", ["What came before, in short"]),
        ("user", ["also this"]),
        ("user", ["[a picture, not imported]\n\nlook"]),
    ]


def test_broken_lines_are_passed_over(session: SessionFile) -> None:
    session.person("Hello")
    with session.path.open("ab") as file:
        file.write(b'{"type":"user" broken\n\xff\xfe\n\n[]\n{"type":"user"}\n{"type":"assistant","message":7}\n')
        file.write(b'{"type":"user","message":{"content":[1,{"type":"tool_result"}]}}\n' + b"[" * 5000 + b"\n")
    session.claude(text("half a \ud83c character"))
    with session.path.open("ab") as file:
        file.write(b'{"type":"user","message":{"content":"being writ')
    assert shown(session) == [("user", ["Hello"]), ("assistant", ["half a \ufffd character"])]


def test_long_content_is_cut_and_says_so(session: SessionFile) -> None:
    session.claude(text("x" * 500_000), tool("t1", command="y" * 100_000), *[text("z" * 250_000)] * 10)
    session.result("t1", "r" * 500_000)
    (message,) = messages(session)
    assert len(json.dumps(message)) < 1_600_000
    assert message["blocks"][0]["text"].endswith("[cut here by the import]")
    assert message["blocks"][-1]["text"] == "[cut here by the import]"
    assert message["blocks"][1]["input"].keys() == {"cut"}


def test_a_line_that_is_too_long_is_passed_over(session: SessionFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claude_history, "MAX_LINE_BYTES", 1000)
    session.person("Hello")
    session.person("x" * 5000)
    session.claude(text("Hi."))
    assert shown(session) == [("user", ["Hello"]), ("assistant", ["Hi."])]


def test_a_long_stretch_without_messages_is_read_in_parts(
    session: SessionFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claude_history, "SCAN_BYTES", 10_000)
    session.person("Hello")
    for _ in range(50):
        session.noise(1000)
    session.claude(text("Hi."))
    environment = {"CLAUDE_CONFIG_DIR": str(session.path.parents[2])}
    first: Any = read_session(environment, str(session.folder), SESSION, None, 100)
    assert (len(first["messages"]), first["next"] is None) == (1, False)
    assert shown(session) == [("user", ["Hello"]), ("assistant", ["Hi."])]


def test_memory_does_not_grow_with_the_file(session: SessionFile) -> None:
    for number in range(2000):
        session.person(f"question {number}")
        session.noise(10_000)
        session.claude(text("answer " * 100), name=f"m{number}")
    assert session.path.stat().st_size > 20_000_000
    environment = {"CLAUDE_CONFIG_DIR": str(session.path.parents[2])}
    tracemalloc.start()
    try:
        pages = all_pages(lambda c, n: read_session(environment, str(session.folder), SESSION, c, n), 100)
        assert sum(1 for _ in pages) == 4000
        assert tracemalloc.get_traced_memory()[1] < 6_000_000
    finally:
        tracemalloc.stop()


# --- which there are -----------------------------------------------------------------------------------------------


def test_sessions_are_listed_newest_first_with_their_titles(config: Path, folder: Path) -> None:
    for number, name in enumerate(("aaaaaaaa", "bbbbbbbb", "cccccccc"), 1):
        session = SessionFile(config, folder, name + SESSION[8:])
        session.person(f"First words of {number}\nand more")
        if number == 2:
            session.add(type="custom-title", customTitle="A title of its own")
        os.utime(session.path, (1_000_000 * number, 1_000_000 * number))

    answer = listed(config, folder)

    assert [(s["title"], s["workingDirectory"]) for s in answer["sessions"]] == [
        ("First words of 3 and more", str(folder)),
        ("A title of its own", str(folder)),
        ("First words of 1 and more", str(folder)),
    ]
    assert answer["sessions"][0]["updatedAt"] == "1970-02-04T17:20:00.000+00:00"
    assert answer["next"] is None
    first = listed(config, folder, limit=2)
    assert [s["title"] for s in (*first["sessions"], *listed(config, folder, first["next"])["sessions"])] == [
        s["title"] for s in answer["sessions"]
    ]


def test_only_sessions_of_this_very_folder_are_listed(config: Path, folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "my-project"
    other.mkdir()
    SessionFile(config, other).person("of a folder with a like name")
    assert SessionFile(config, other).path == SessionFile(config, folder).path
    assert listed(config, folder)["sessions"] == []
    assert len(listed(config, other)["sessions"]) == 1


def test_a_folder_with_a_long_name_is_found_by_its_beginning(config: Path, tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 120) / ("y" * 120)
    folder.mkdir(parents=True)
    SessionFile(config, folder).person("Hello")
    assert len(listed(config, folder)["sessions"]) == 1


def test_what_is_no_session_is_not_listed(config: Path, folder: Path, session: SessionFile, tmp_path: Path) -> None:
    session.noise()
    place = session.path.parent
    (place / "notes.jsonl").write_text("{}")
    (place / f"{SESSION[:-1]}6.jsonl").touch()
    (place / f"{SESSION[:-1]}7.jsonl").mkdir()
    secret = SessionFile(tmp_path / "elsewhere", folder)
    secret.person("secret")
    (place / f"{SESSION[:-1]}8.jsonl").symlink_to(secret.path)
    os.mkfifo(place / f"{SESSION[:-1]}9.jsonl")
    assert listed(config, folder)["sessions"] == []
    with pytest.raises(NotFound):
        read_session({"CLAUDE_CONFIG_DIR": str(config)}, str(folder), SESSION[:-1] + "8", None, None)


@pytest.mark.parametrize("name", ["", "../x", "not-a-uuid", SESSION.upper(), SESSION + ".jsonl", "\0"])
def test_a_session_that_is_none_is_not_found(config: Path, session: SessionFile, name: str) -> None:
    session.person("Hello")
    with pytest.raises(NotFound):
        read_session({"CLAUDE_CONFIG_DIR": str(config)}, str(session.folder), name, None, None)


@pytest.mark.parametrize("cursor", ["", "-1", "x", "1.5", "٣", "9" * 30])
def test_a_cursor_that_is_not_ours_is_refused(config: Path, session: SessionFile, cursor: str) -> None:
    session.person("Hello")
    with pytest.raises(InvalidRequest):
        listed(config, session.folder, cursor)
    with pytest.raises(InvalidRequest):
        read_session({"CLAUDE_CONFIG_DIR": str(config)}, str(session.folder), SESSION, cursor, None)


def test_without_claude_there_are_no_sessions(config: Path, folder: Path) -> None:
    assert listed(config, folder) == {"sessions": [], "next": None}
    assert list_sessions({"HOME": str(config)}, str(folder), None, None) == {"sessions": [], "next": None}


async def test_the_agent_keeps_sessions(config: Path, session: SessionFile) -> None:
    session.person("Hello")
    environment = {"CLAUDE_CONFIG_DIR": str(config)}
    agent = ClaudeAgent(AgentOptions(environment=environment, default_working_directory=str(session.folder)))
    assert isinstance(agent, KeepsSessions)
    found: Any = await agent.list_sessions(str(session.folder), cursor=None, limit=None)
    assert [item["sessionId"] for item in found["sessions"]] == [SESSION]
    page: Any = await agent.read_session(str(session.folder), SESSION, cursor=None, limit=None)
    assert [message["role"] for message in page["messages"]] == ["user"]
