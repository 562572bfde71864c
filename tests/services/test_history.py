"""An agent's own sessions as conversations: whole or not at all, once, ready to go on with."""

import asyncio
from pathlib import Path
from typing import Any

import orjson
import pytest

from baton.agents.claude_history import list_sessions, read_session
from baton.core.commands import CreateProject, ImportSession, SendMessage
from baton.core.errors import AgentFailed, Conflict, InvalidRequest, NoBridge, NotFound
from baton.core.events import BridgePresence, ConversationCreated
from baton.core.frames import Execute
from baton.core.ids import BridgeId, ProjectId, RequestId, new_object_id
from baton.core.limits import Limits
from baton.core.models import ConversationStatus, Message, MessageStatus, ToolStatus, ToolUseBlock, Usage
from baton.core.stored import ConversationFilter
from baton.core.text import Json
from baton.schemas.codec import from_document
from baton.services.history import History
from baton.storage.sqlite import SqliteStore
from baton.testing.clock import FakeClock
from tests.services.harness import ANNA, LOCAL, Bridge, Server
from tests.support.session_files import SESSION, SessionFile, text, tool


class Keeper(Bridge):
    """A bridge on whose machine Claude Code's session files lie."""

    def __init__(self, config: Path) -> None:
        super().__init__()
        self.environment = {"CLAUDE_CONFIG_DIR": str(config)}
        self.calls: list[tuple[str, Any]] = []
        self.limit = 3
        self.bridges = [LOCAL]
        self.answer: Any = None
        self.gate: asyncio.Event | None = None

    def presence(self) -> tuple[BridgePresence, ...]:
        return tuple(BridgePresence(id=name, name=name, connected=True, allow_bypass=False) for name in self.bridges)

    async def call(self, bridge_id: BridgeId, method: str, params: Json, timeout_s: float) -> Json:
        assert isinstance(params, dict)
        self.calls.append((method, params))
        if self.gate is not None:
            await self.gate.wait()
        if self.answer is not None:
            answer: Json = self.answer(params) if callable(self.answer) else self.answer
            return answer
        folder, cursor = str(params["workingDirectory"]), params["cursor"]
        assert cursor is None or isinstance(cursor, str)
        if method == "sessions.list":
            return list_sessions(self.environment, folder, cursor, self.limit)
        return read_session(self.environment, folder, str(params["sessionId"]), cursor, self.limit)


@pytest.fixture
def bridge(tmp_path: Path) -> Keeper:
    return Keeper(tmp_path / "claude")


@pytest.fixture
def session(tmp_path: Path) -> SessionFile:
    (tmp_path / "work").mkdir()
    session = SessionFile(tmp_path / "claude", tmp_path / "work")
    session.person("Hello, Claude")
    session.claude({"type": "thinking", "thinking": "Hm."}, text("I look."), tool("t1", command="ls"))
    session.result("t1", "a file")
    session.claude(text("One file."), name="msg_2")
    session.person("Thanks")
    session.claude(text("Welcome."), name="msg_3")
    return session


@pytest.fixture
def history(server: Server, bridge: Keeper) -> History:
    return History(store=server.store, publisher=server.browser, link=bridge, clock=FakeClock(), limits=Limits())


def wish(session: SessionFile, **rest: Any) -> ImportSession:
    return ImportSession(session_id=session.session_id, working_directory=str(session.folder), **rest)


async def stored(store: SqliteStore, conversation_id: Any) -> list[Message]:
    return [from_document(Message, orjson.loads(m.json)) for m in await store.history(conversation_id, after=0)]


async def test_a_session_becomes_a_conversation_with_all_that_was_said(
    history: History, session: SessionFile, store: SqliteStore, server: Server
) -> None:
    imported = await history.import_session(ANNA, wish(session))

    conversation = imported.conversation
    assert (imported.is_new, imported.message_count) == (True, 5)
    assert conversation == await store.conversation(conversation.id)
    assert (conversation.title, conversation.agent, conversation.claude_session_id) == (
        "Hello, Claude",
        "claude",
        SESSION,
    )
    assert (conversation.working_directory, conversation.bridge_id) == (str(session.folder), LOCAL)
    assert conversation.usage == Usage(9, 12, 15, 0)
    messages = await stored(store, conversation.id)
    assert [(m.ordinal, m.role, m.status, m.content) for m in messages] == [
        (1, "user", MessageStatus.COMPLETED, "Hello, Claude"),
        (2, "assistant", MessageStatus.COMPLETED, "I look."),
        (3, "assistant", MessageStatus.COMPLETED, "One file."),
        (4, "user", MessageStatus.COMPLETED, "Thanks"),
        (5, "assistant", MessageStatus.COMPLETED, "Welcome."),
    ]
    block = messages[1].blocks[2]
    assert isinstance(block, ToolUseBlock)
    assert (block.name, block.result, block.status) == ("Bash", "a file", ToolStatus.COMPLETED)
    assert messages[1].model == "claude-x"
    assert [event for event in server.browser.events if isinstance(event, ConversationCreated)] == [
        ConversationCreated(conversation)
    ]


async def test_the_next_message_goes_on_with_the_session(
    history: History, session: SessionFile, server: Server
) -> None:
    conversation = (await history.import_session(ANNA, wish(session))).conversation

    await server.runs.send(
        ANNA, SendMessage(request_id=RequestId("r1"), content="Go on", conversation_id=conversation.id)
    )
    await server.intake.flush()

    (execute,) = server.bridge.of(Execute)
    assert isinstance(execute, Execute)
    assert (execute.session_id, execute.working_directory, execute.agent) == (SESSION, str(session.folder), "claude")


async def test_it_is_as_old_as_what_was_said_last(history: History, session: SessionFile) -> None:
    conversation = (await history.import_session(ANNA, wish(session))).conversation
    assert (conversation.created_at.isoformat(), conversation.updated_at.isoformat()) == (
        "2026-01-02T03:04:01+00:00",
        "2026-01-02T03:04:08+00:00",
    ), "lists are ordered by it: what people work on now stays on top"


async def test_a_session_is_imported_once(history: History, session: SessionFile, store: SqliteStore) -> None:
    first = await history.import_session(ANNA, wish(session))
    second = await history.import_session(ANNA, wish(session))
    assert (second.is_new, second.conversation.id) == (False, first.conversation.id)
    assert len((await store.conversations(ConversationFilter(session_id=SESSION))).items) == 1


async def test_two_at_once_do_not_make_two(history: History, session: SessionFile, bridge: Keeper) -> None:
    bridge.gate = asyncio.Event()
    first = asyncio.ensure_future(history.import_session(ANNA, wish(session)))
    while not bridge.calls:
        await asyncio.sleep(0)
    with pytest.raises(Conflict):
        await history.import_session(ANNA, wish(session))
    bridge.gate.set()
    assert (await first).is_new


async def test_one_that_breaks_off_leaves_nothing(
    history: History, session: SessionFile, bridge: Keeper, store: SqliteStore, server: Server
) -> None:
    def answer(params: dict[str, Any]) -> Json:
        if params["cursor"] is not None:
            raise NoBridge
        return read_session(bridge.environment, str(session.folder), SESSION, None, 2)

    bridge.answer = answer
    with pytest.raises(NoBridge):
        await history.import_session(ANNA, wish(session))
    for status in ConversationStatus:
        assert (await store.conversations(ConversationFilter(status=status))).items == ()
    assert server.browser.events == []
    bridge.answer = None
    assert (await history.import_session(ANNA, wish(session))).is_new


async def test_a_session_in_which_nothing_was_said_is_no_conversation(
    history: History, bridge: Keeper, store: SqliteStore
) -> None:
    about = {"sessionId": "s", "title": "", "workingDirectory": "/x", "startedAt": None, "updatedAt": None}
    bridge.answer = {"session": {**about, "sizeBytes": 1}, "messages": [], "next": None}
    with pytest.raises(NotFound):
        await history.import_session(ANNA, ImportSession(session_id="s"))
    assert (await store.conversations(ConversationFilter(status=ConversationStatus.DELETED))).items == ()


async def test_a_project_must_be_there(history: History, session: SessionFile, server: Server) -> None:
    with pytest.raises(NotFound):
        await history.import_session(ANNA, wish(session, project_id=ProjectId(new_object_id())))
    project = await server.services.projects.create(ANNA, CreateProject(name="P"))
    imported = await history.import_session(ANNA, wish(session, project_id=project.id))
    assert imported.conversation.project_id == project.id


async def test_sessions_are_listed_page_by_page(history: History, tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    for number in range(5):
        SessionFile(tmp_path / "claude", tmp_path / "work", f"{number}{SESSION[1:]}").person(f"words {number}")
    titles, cursor = [], None
    while True:
        page = await history.sessions(
            ANNA, bridge_id=None, working_directory=str(tmp_path / "work"), cursor=cursor, limit=None
        )
        titles += [item.title for item in page.sessions]
        cursor = page.next
        if cursor is None:
            break
    assert sorted(titles) == [f"words {number}" for number in range(5)]


async def test_of_several_bridges_one_must_be_named(history: History, session: SessionFile, bridge: Keeper) -> None:
    bridge.bridges = [LOCAL, BridgeId("laptop")]
    with pytest.raises(InvalidRequest):
        await history.import_session(ANNA, wish(session))
    imported = await history.import_session(ANNA, wish(session, bridge_id=BridgeId("laptop")))
    assert imported.conversation.bridge_id == "laptop"
    with pytest.raises(NoBridge):
        await history.import_session(ANNA, wish(session, bridge_id=BridgeId("gone")))
    bridge.bridges = []
    with pytest.raises(NoBridge):
        await history.sessions(ANNA, bridge_id=None, working_directory=None, cursor=None, limit=None)


ABOUT = {"sessionId": "s", "title": "t", "workingDirectory": "/x", "startedAt": None, "updatedAt": None, "sizeBytes": 1}
MESSAGE = {
    "role": "user",
    "at": None,
    "id": None,
    "model": None,
    "usage": None,
    "blocks": [{"type": "text", "text": "x"}],
}


@pytest.mark.parametrize(
    "answer",
    [
        [],
        {"sessions": []},
        {"session": ABOUT, "messages": [{**MESSAGE, "role": "root"}], "next": None},
        {"session": ABOUT, "messages": [{**MESSAGE, "blocks": [{"type": "later"}]}], "next": None},
        {"session": ABOUT, "messages": [{**MESSAGE, "at": "yesterday"}], "next": None},
        {"session": ABOUT, "messages": [MESSAGE] * 1001, "next": None},
        {"session": {**ABOUT, "sizeBytes": -1}, "messages": [MESSAGE], "next": None},
    ],
)
async def test_a_bridge_that_answers_nonsense_is_not_believed(history: History, bridge: Keeper, answer: Any) -> None:
    bridge.answer = answer
    with pytest.raises(AgentFailed, match="what the protocol does not have"):
        await history.import_session(ANNA, ImportSession(session_id="s"))


async def test_a_bridge_that_never_comes_to_an_end_is_given_up_on(
    history: History, bridge: Keeper, store: SqliteStore
) -> None:
    bridge.answer = {"session": ABOUT, "messages": [MESSAGE], "next": "1"}
    with pytest.raises(Conflict):
        await history.import_session(ANNA, ImportSession(session_id="s"))
    assert (await store.conversations(ConversationFilter(status=ConversationStatus.DELETED))).items == ()


async def test_a_message_over_the_limit_is_replaced_by_a_line_that_says_so(
    server: Server, bridge: Keeper, store: SqliteStore
) -> None:
    limits = Limits(message_max_bytes=5000)
    history = History(store=store, publisher=server.browser, link=bridge, clock=FakeClock(), limits=limits)
    long = {**MESSAGE, "blocks": [{"type": "text", "text": "x" * 10_000}]}
    bridge.answer = {"session": ABOUT, "messages": [long, MESSAGE], "next": None}
    conversation = (await history.import_session(ANNA, ImportSession(session_id="s"))).conversation
    first, second = await stored(store, conversation.id)
    assert "over the limit of 5000" in first.content
    assert second.content == "x"
