"""`baton import-claude`: into a database that nobody serves, and through the server that serves it."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from baton.clock import SystemClock
from baton.core.errors import BatonError, NotFound, Unavailable
from baton.core.stored import ConversationFilter
from baton.importing import import_claude
from baton.settings import Settings
from baton.storage.sqlite import SqliteStore
from tests.support.in_process import running_server
from tests.support.session_files import SESSION, SessionFile, text


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def session(tmp_path: Path) -> SessionFile:
    work = tmp_path / "work"
    work.mkdir()
    session = SessionFile(tmp_path / "claude", work)
    session.person("Hello, Claude")
    session.claude(text("Hello."))
    return session


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    return Settings(data=data, agent_environment={"CLAUDE_CONFIG_DIR": str(tmp_path / "claude")})


async def test_without_a_session_those_of_the_folder_are_listed(
    settings: Settings, session: SessionFile, told: list[str]
) -> None:
    await import_claude(settings, told.append, folder=session.folder)
    (line,) = told
    assert line.startswith(SESSION)
    assert line.endswith("Hello, Claude")
    assert not settings.sqlite_path or not settings.sqlite_path.exists(), "looking makes no database"


async def test_a_folder_without_sessions_says_so(settings: Settings, tmp_path: Path, told: list[str]) -> None:
    await import_claude(settings, told.append, folder=tmp_path)
    assert told == [f"Claude Code has no sessions in {tmp_path}"]


async def test_a_session_is_written_into_a_database_that_nobody_serves(
    settings: Settings, session: SessionFile, told: list[str]
) -> None:
    for _ in range(2):
        await import_claude(settings, told.append, folder=session.folder, session_ids=[SESSION])

    assert told == [
        f"{SESSION}  imported, 2 messages  Hello, Claude",
        f"{SESSION}  was here already  Hello, Claude",
    ]
    assert settings.sqlite_path is not None
    store = SqliteStore(settings.sqlite_path, clock=SystemClock())
    await store.open()
    try:
        (conversation,) = (await store.conversations(ConversationFilter())).items
    finally:
        await store.close()
    assert (conversation.claude_session_id, conversation.agent) == (SESSION, "claude")
    assert (conversation.working_directory, conversation.bridge_id) == (str(session.folder), None)


async def test_all_sessions_of_a_folder_are_imported(
    settings: Settings, session: SessionFile, tmp_path: Path, told: list[str]
) -> None:
    SessionFile(tmp_path / "claude", session.folder, "0" + SESSION[1:]).person("Another")
    await import_claude(settings, told.append, folder=session.folder, takes_all=True)
    assert sorted(line.split("  ")[2] for line in told) == ["Another", "Hello, Claude"]


async def test_an_unknown_session_is_named_and_nothing_is_imported(
    settings: Settings, session: SessionFile, told: list[str]
) -> None:
    with pytest.raises(NotFound, match="no session nonsense in"):
        await import_claude(settings, told.append, folder=session.folder, session_ids=[SESSION, "nonsense"])
    assert told == []


async def test_a_running_server_brings_it_in(session: SessionFile, tmp_path: Path, told: list[str]) -> None:
    environment = {"CLAUDE_CONFIG_DIR": str(tmp_path / "claude")}
    async with running_server(
        tmp_path, agents=("demo", "claude"), workspace=(session.folder,), agent_environment=environment
    ) as running:
        await import_claude(
            running.server.settings, told.append, folder=session.folder, session_ids=[SESSION], url=running.url
        )
        await import_claude(running.server.settings, told.append, folder=session.folder, session_ids=[SESSION])
        listed = await running.server.store.conversations(ConversationFilter(session_id=SESSION))
    assert told == [f"{SESSION}  imported, 2 messages  Hello, Claude", f"{SESSION}  was here already  Hello, Claude"]
    (conversation,) = listed.items
    assert conversation.bridge_id == "local"


async def test_what_the_server_refuses_is_told(session: SessionFile, tmp_path: Path, told: list[str]) -> None:
    environment = {"CLAUDE_CONFIG_DIR": str(tmp_path / "claude")}
    other = tmp_path / "other"
    other.mkdir()
    async with running_server(
        tmp_path, agents=("claude",), workspace=(other,), agent_environment=environment
    ) as running:
        with pytest.raises(BatonError, match="workspaces"):
            await import_claude(
                running.server.settings, told.append, folder=session.folder, session_ids=[SESSION], url=running.url
            )


async def test_a_server_that_does_not_answer_is_named(
    settings: Settings, session: SessionFile, told: list[str], unused_tcp_port_factory: Callable[[], int]
) -> None:
    url = f"http://127.0.0.1:{unused_tcp_port_factory()}"
    with pytest.raises(Unavailable, match=url):
        await import_claude(settings, told.append, folder=session.folder, session_ids=[SESSION], url=url)


def test_memory_does_not_grow_with_the_session(settings: Settings, session: SessionFile, tmp_path: Path) -> None:
    """40 MB of session, in a process whose memory may grow by less than that."""
    line = session.path.read_bytes().splitlines()[1]
    filler = b'{"type":"api-request-blob","message":"' + b"x" * 20_000 + b'"}\n'
    with session.path.open("ab") as file:
        for number in range(2000):
            file.write(line.replace(b"msg_1", b"msg_%d" % number) + b"\n" + filler)
    program = (
        "import asyncio, resource, sys\n"
        "from pathlib import Path\n"
        "from baton.importing import import_claude\n"
        "from baton.settings import load\n"
        "settings = load({'data': sys.argv[1]}, dotenv=None)\n"
        "import baton.storage.sqlite, baton.storage.sqlite_migrate\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "asyncio.run(import_claude(settings, print, folder=Path(sys.argv[2]), takes_all=True))\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(settings.data), str(session.folder)],
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "CLAUDE_CONFIG_DIR": str(tmp_path / "claude")},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    told, grown_kib = done.stdout.strip().splitlines()
    assert "imported, 2002 messages" in told
    assert int(grown_kib) < 30 * 1024
