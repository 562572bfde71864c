"""A bridge's answers about the sessions that its agents keep: `baton.bridge.calls`."""

from pathlib import Path
from typing import Any

import pytest

from baton.bridge.calls import Calls
from baton.bridge.files import Folders
from baton.core.frames import Rpc, RpcResult
from baton.core.text import Json
from tests.support.scripted_agents import ScriptedAgent


class Keeper(ScriptedAgent):
    """An agent that keeps sessions, and tells what it was asked."""

    async def list_sessions(self, working_directory: str, *, cursor: str | None, limit: int | None) -> Json:
        return ["list", working_directory, cursor, limit]

    async def read_session(
        self, working_directory: str, session_id: str, *, cursor: str | None, limit: int | None
    ) -> Json:
        return ["read", working_directory, session_id, cursor, limit]


@pytest.fixture
def calls(tmp_path: Path) -> Calls:
    (tmp_path / "work").mkdir()
    folders = Folders(str(tmp_path / "work"), [str(tmp_path / "work")])
    agents = {"claude": Keeper(name="claude"), "demo": ScriptedAgent(name="demo")}
    return Calls(agents, folders, run_status=lambda _: None, timeout_s=5)


async def asked(calls: Calls, method: str, **params: Any) -> RpcResult:
    return await calls.answer(Rpc(id="1", method=method, params=params))


async def test_claudes_sessions_of_the_default_folder_are_listed(calls: Calls, tmp_path: Path) -> None:
    assert (await asked(calls, "sessions.list")).result == ["list", str(tmp_path / "work"), None, None]


async def test_a_page_of_a_session_is_read(calls: Calls, tmp_path: Path) -> None:
    folder = tmp_path / "work" / "deep"
    folder.mkdir()
    (tmp_path / "work" / "link").symlink_to(folder)
    answer = await asked(
        calls,
        "sessions.read",
        agent="claude",
        workingDirectory=str(tmp_path / "work" / "link"),
        sessionId="s",
        cursor="12",
        limit=3,
    )
    assert answer.result == ["read", str(folder), "s", "12", 3], "the real folder"


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"agent": "demo"}, "not_found"),
        ({"agent": "nobody"}, "not_found"),
        ({"limit": 0}, "invalid_payload"),
        ({"limit": True}, "invalid_payload"),
        ({"limit": "3"}, "invalid_payload"),
        ({"workingDirectory": "/"}, "forbidden"),
        ({"workingDirectory": "relative"}, "invalid_payload"),
    ],
)
@pytest.mark.parametrize("method", ["sessions.list", "sessions.read"])
async def test_wrong_questions_get_their_code(calls: Calls, method: str, params: dict[str, Any], code: str) -> None:
    answer = await asked(calls, method, **params)
    assert answer.error is not None
    assert answer.error.code == code
