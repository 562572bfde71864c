"""Export and import: nothing is lost on the way, nothing dangerous comes in, no half of one is ever seen."""

import copy
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from baton.core.commands import CreateProject, SendMessage
from baton.core.errors import BatonError, Conflict, InvalidRequest, NotFound, StoreUnavailable, TooLarge
from baton.core.events import ConversationCreated
from baton.core.ids import AttachmentId, ConversationId, RequestId, new_object_id
from baton.core.limits import Limits
from baton.core.models import (
    Conversation,
    ConversationState,
    ConversationStatus,
    Failure,
    Message,
    MessageStatus,
    PermissionMode,
    PromptStatus,
    Role,
    RunStatus,
    TextBlock,
    ThinkingBlock,
    ToolUseBlock,
    Usage,
)
from baton.core.permissions import Decision
from baton.core.ports import Store
from baton.core.stored import Change, Committed, ConversationFilter, Outcome, PromptMove, Refused
from baton.schemas.codec import to_wire
from baton.services.catalog import Services, build_services
from baton.services.transfer import Transfer
from baton.storage.sqlite import SqliteStore
from baton.testing import samples
from baton.testing.clock import FakeClock
from tests.services.harness import ANNA, BEN, Bridge, Browser, Server
from tests.support.samples import full

LIMITS = Limits(message_max_bytes=100_000)


@pytest.fixture
def browser() -> Browser:
    return Browser()


@pytest.fixture
def transfer(store: SqliteStore, browser: Browser) -> Transfer:
    return services_on(store, browser).transfer


def services_on(store: Store, browser: Browser) -> Services:
    return build_services(store=store, publisher=browser, link=Bridge(), clock=FakeClock(), limits=LIMITS)


async def rich(store: SqliteStore) -> Conversation:
    """A conversation with everything that can be in one: two runs, a prompt, tools, a file, 30 messages."""
    file = samples.attachment(filename="plan ü.txt", size_bytes=4)
    await store.put_attachment(file, b"\0\xff\r\n")
    spilled = samples.attachment(filename="tool-result.txt", size_bytes=3)
    await store.put_attachment(spilled, b"abc")
    cid = ConversationId(new_object_id())
    first, second = RequestId("first"), RequestId("second")
    tool = replace(full(ToolUseBlock), attachment=spilled.id, input={"cut": "a…", "attachment": spilled.id})
    blocks = (ThinkingBlock("Hm."), TextBlock("Done ✅"), tool)
    messages = [
        samples.message(cid, role=Role.USER, content="Do it", request_id=first, attachments=(file,)),
        samples.message(cid, content="Done ✅", blocks=blocks, request_id=first, model="m", usage=Usage(1, 2, 3, 4)),
        samples.message(cid, role=Role.USER, content="Again", request_id=second),
        samples.message(
            cid,
            content="No",
            request_id=second,
            status=MessageStatus.FAILED,
            error=Failure("agent_failed", "It broke", retryable=True),
            claude_data={"id": "msg", "deep": [1, {"x": None}]},
        ),
        samples.message(cid, content="taken back", status=MessageStatus.DISCARDED, request_id=second),
        *(samples.message(cid, content=f"line {n}") for n in range(25)),
    ]
    messages = [replace(each, ordinal=n, seq=n) for n, each in enumerate(messages, 1)]
    runs = [
        samples.run(cid, request_id=first, status=RunStatus.COMPLETED, finished_at=samples.at(9), cost_usd=0.5, seq=31),
        samples.run(
            cid,
            request_id=second,
            status=RunStatus.FAILED,
            error=Failure("agent_failed", "It broke"),
            finished_at=samples.at(10),
            message_ids=(messages[3].id,),
            seq=32,
        ),
    ]
    prompt = samples.prompt(cid, first, status=PromptStatus.ANSWERED, selected_option="deny", seq=33)
    whole = samples.conversation(
        id=cid, title="A *rich* one", seq=33, ordinal=30, state=ConversationState.FAILED, cost_usd=0.75, agent="demo"
    )
    await commit(
        store,
        Change(conversation_id=cid, conversation=whole, is_new=True, messages=tuple(messages)),
        *(Change(conversation_id=cid, conversation=whole, new_run=run) for run in runs),
        Change(conversation_id=cid, conversation=whole, prompts=(PromptMove(prompt=prompt, expect=None),)),
    )
    return whole


async def commit(store: SqliteStore, *changes: Change) -> None:
    assert all(isinstance(outcome, Committed) for outcome in await store.commit(changes))


def without_ids(document: dict[str, Any]) -> Any:
    """The document with each id and requestId replaced by the order in which it first comes, and without seqs."""
    names: dict[str, str] = {}
    for run in document["runs"]:
        names.setdefault(run["requestId"], f"request {len(names)}")
    text = json.dumps(document)
    for found in re.findall(r"\b[0-9a-f]{24}\b", text):
        names.setdefault(found, f"id {len(names)}")
    for name, order in names.items():
        text = text.replace(f'"{name}"', f'"{order}"').replace(f"/{name}", f"/{order}")
    return json.loads(re.sub(r'"seq": \d+', '"seq": 0', text))


# --- out -------------------------------------------------------------------------------------------------------


async def test_an_export_holds_everything_in_order(transfer: Transfer, store: SqliteStore) -> None:
    document = await transfer.export_json(ANNA, (await rich(store)).id)
    assert (document["format"], document["version"]) == ("baton.conversation", 1)
    assert [message["ordinal"] for message in document["messages"]] == list(range(1, 31))
    assert [run["requestId"] for run in document["runs"]] == ["first", "second"]
    assert [prompt["selectedOption"] for prompt in document["prompts"]] == ["deny"]
    assert [file["content"] for file in document["attachments"]] == ["AP8NCg==", "YWJj"]


async def test_an_empty_conversation_can_be_exported(transfer: Transfer, server: Server) -> None:
    document = await transfer.export_json(ANNA, (await server.conversation()).id)
    assert (document["messages"], document["runs"], document["prompts"], document["attachments"]) == ([], [], [], [])


async def test_the_export_of_nothing_is_not_found_before_its_first_byte(transfer: Transfer) -> None:
    unknown = ConversationId(new_object_id())
    for pieces in (transfer.stream_json(ANNA, unknown), transfer.stream_markdown(ANNA, unknown)):
        with pytest.raises(NotFound):
            await anext(pieces)


# --- there and back --------------------------------------------------------------------------------------------


async def test_what_is_imported_exports_as_what_was_exported(transfer: Transfer, store: SqliteStore) -> None:
    first = await transfer.export_json(ANNA, (await rich(store)).id)
    second = await transfer.export_json(ANNA, (await transfer.import_document(ANNA, copy.deepcopy(first))).id)
    assert without_ids(second) == without_ids(first)


async def test_an_import_shares_no_id_with_its_source(transfer: Transfer, store: SqliteStore) -> None:
    first = await transfer.export_json(ANNA, (await rich(store)).id)
    second = await transfer.export_json(ANNA, (await transfer.import_document(ANNA, first)).id)
    for part, key in (("messages", "id"), ("runs", "requestId"), ("prompts", "id"), ("attachments", "id")):
        assert not {each[key] for each in first[part]} & {each[key] for each in second[part]}


async def test_an_imported_conversation_goes_on(
    transfer: Transfer, store: SqliteStore, server: Server, browser: Browser
) -> None:
    document = await transfer.export_json(ANNA, (await rich(store)).id)
    imported = await transfer.import_document(BEN, document)
    assert browser.events == [ConversationCreated(imported)]
    assert imported == await store.conversation(imported.id)
    assert imported.user_id == BEN.user_id
    command = SendMessage(request_id=RequestId("r9"), content="And now?", conversation_id=imported.id)
    await server.runs.send(BEN, command)
    await server.answer("r9", "Now this.")
    server.complete("r9")
    await server.intake.flush()
    history = await store.history(imported.id, after=30)
    assert [json.loads(stored.json)["content"] for stored in history] == ["And now?", "Now this."]
    assert [stored.ordinal for stored in history] == [31, 32]


async def test_a_failed_run_of_an_import_can_be_asked_again(
    transfer: Transfer, store: SqliteStore, server: Server
) -> None:
    document = await transfer.export_json(ANNA, (await rich(store)).id)
    imported = await transfer.export_json(ANNA, (await transfer.import_document(ANNA, document)).id)
    run = await store.run(RequestId(imported["runs"][1]["requestId"]))
    assert run is not None
    assert (run.request.content, run.user_id) == ("Again", ANNA.user_id)


# --- what an import does not take over ----------------------------------------------------------------------------


async def changed(transfer: Transfer, store: SqliteStore, **fields: Any) -> dict[str, Any]:
    """An exported conversation with other fields."""
    document = await transfer.export_json(ANNA, (await rich(store)).id)
    document["conversation"].update(fields)
    return document


async def test_session_bridge_and_bypass_do_not_come_along(transfer: Transfer, store: SqliteStore) -> None:
    document = await changed(
        transfer, store, claudeSessionId="s", bridgeId="laptop", permissionMode="bypassPermissions", status="deleted"
    )
    imported = await transfer.import_document(ANNA, document)
    assert (imported.claude_session_id, imported.bridge_id) == (None, None)
    assert (imported.permission_mode, imported.status) == (PermissionMode.DEFAULT, ConversationStatus.ACTIVE)


async def test_a_project_is_kept_where_it_exists(transfer: Transfer, store: SqliteStore) -> None:
    project = await services_on(store, Browser()).projects.create(ANNA, CreateProject(name="Garden"))
    document = await changed(transfer, store, projectId=project.id)
    assert (await transfer.import_document(ANNA, document)).project_id == project.id
    document["conversation"]["projectId"] = new_object_id()
    assert (await transfer.import_document(ANNA, document)).project_id is None


async def test_what_was_under_way_is_ended(transfer: Transfer, store: SqliteStore) -> None:
    document = await changed(transfer, store, state="running")
    document["messages"][1]["status"] = "streaming"
    document["messages"][2]["status"] = "sending"
    document["runs"][0] |= {"status": "running", "finishedAt": None, "deadlineAt": "2026-01-01T00:00:00.000Z"}
    document["prompts"][0] |= {"status": "pending", "selectedOption": None}
    imported = await transfer.import_document(ANNA, document)
    exported = await transfer.export_json(ANNA, imported.id)
    assert imported.state is ConversationState.IDLE
    assert [message["status"] for message in exported["messages"][1:3]] == ["aborted", "completed"]
    assert (exported["runs"][0]["status"], exported["runs"][0]["deadlineAt"]) == ("aborted", None)
    assert exported["runs"][0]["finishedAt"] == document["conversation"]["updatedAt"]
    assert (exported["prompts"][0]["status"], exported["prompts"][0]["autoHandler"]) == ("cancelled", "cleanup")
    assert list(await store.open_conversations()) == []


async def test_a_file_that_was_gone_stays_gone(transfer: Transfer, store: SqliteStore) -> None:
    document = await changed(transfer, store)
    document["attachments"] = []
    exported = await transfer.export_json(ANNA, (await transfer.import_document(ANNA, document)).id)
    [listed] = exported["messages"][0]["attachments"]
    assert listed["filename"] == "plan ü.txt"
    assert await store.attachment(AttachmentId(listed["id"])) is None


async def test_a_document_of_a_version_that_knew_no_decisions_is_imported(
    transfer: Transfer, store: SqliteStore
) -> None:
    document = await changed(transfer, store)
    del document["conversation"]["bypassUntil"]
    for prompt in document["prompts"]:
        del prompt["decision"]
    exported = await transfer.export_json(ANNA, (await transfer.import_document(ANNA, document)).id)
    assert exported["conversation"]["bypassUntil"] is None
    assert [prompt["decision"] for prompt in exported["prompts"]] == [None]


async def test_a_decision_is_imported_without_the_grant_that_stayed_behind(
    transfer: Transfer, store: SqliteStore
) -> None:
    document = await changed(transfer, store)
    decision = full(Decision)
    document["prompts"][0]["decision"] = to_wire(decision)
    exported = await transfer.export_json(ANNA, (await transfer.import_document(ANNA, document)).id)
    assert exported["prompts"][0]["decision"] == to_wire(replace(decision, grant_id=None))


async def test_an_imported_conversation_bypasses_nothing(transfer: Transfer, store: SqliteStore) -> None:
    document = await changed(transfer, store)
    document["conversation"] |= {"permissionMode": "bypassPermissions", "bypassUntil": "2099-01-01T00:00:00.000Z"}
    imported = await transfer.import_document(ANNA, document)
    assert (imported.permission_mode, imported.bypass_until) == (PermissionMode.DEFAULT, None)


# --- what is refused ------------------------------------------------------------------------------------------------


def _set(path: str, value: Any) -> Any:
    """A change of a document: `messages.0.role`."""

    def apply(document: dict[str, Any]) -> None:
        *steps, last = [int(step) if step.isdigit() else step for step in path.split(".")]
        place: Any = document
        for step in steps:
            place = place[step]
        place[last] = value

    return apply


def _twice(part: str) -> Any:
    return lambda document: document[part].append(document[part][0])


WRONG: Sequence[tuple[Any, str]] = [
    (_set("format", "other"), "format"),
    (_set("version", 2), "version"),
    (_set("extra", 1), "extra"),
    (lambda document: document.pop("runs"), "runs"),
    (_set("messages", {}), "messages"),
    (_set("messages.0.role", "root"), "messages.0.role"),
    (_set("messages.0.id", "x"), "messages.0.id"),
    (_set("messages.1.blocks.1.text", 7), "messages.1.blocks.1.text"),
    (_set("messages.1.blocks.1.type", "video"), "messages.1.blocks.1.type"),
    (_set("messages.0.createdAt", "yesterday"), "messages.0.createdAt"),
    (_set("messages.0.createdAt", "2026-01-01T00:00:00"), "messages.0.createdAt"),
    (_set("messages.0.createdAt", "0001-01-01T00:00:00+01:00"), "messages.0.createdAt"),
    (_set("messages.0.ordinal", 2**63), "messages.0.ordinal"),
    (_set("attachments.0.content", "***"), "attachments.0.content"),
    (_set("attachments.0.sizeBytes", 5), "attachments.0.sizeBytes"),
    (_set("runs.0.error", {"code": "x", "message": "y", "retryable": False}), "runs"),
    (_set("runs.1.error", None), "runs"),
    (_twice("messages"), "messages"),
    (_twice("runs"), "runs"),
    (_twice("prompts"), "prompts"),
    (_twice("attachments"), "attachments"),
]


async def test_a_wrong_document_is_refused_whole_and_the_field_is_named(transfer: Transfer, store: SqliteStore) -> None:
    document = await changed(transfer, store)
    before = await store.counts()
    for spoil, field in WRONG:
        spoiled = copy.deepcopy(document)
        spoil(spoiled)
        with pytest.raises(InvalidRequest) as refused:
            await transfer.import_document(ANNA, spoiled)
        assert field in (refused.value.fields or {}), field
    assert await store.counts() == before


@pytest.mark.parametrize("raw", [None, [], "x", 1])
async def test_what_is_no_document_is_refused(raw: object, transfer: Transfer) -> None:
    with pytest.raises(InvalidRequest):
        await transfer.import_document(ANNA, raw)


async def test_a_message_over_its_limit_is_refused_before_anything_is_written(
    transfer: Transfer, store: SqliteStore
) -> None:
    document = await changed(transfer, store)
    document["messages"][-1]["content"] = "x" * 100_001
    before = await store.counts()
    with pytest.raises(TooLarge, match="message_max_bytes"):
        await transfer.import_document(ANNA, document)
    assert await store.counts() == before


async def test_text_that_no_store_can_hold_is_cleaned(transfer: Transfer, store: SqliteStore) -> None:
    document = await changed(transfer, store)
    document["messages"][0] |= {"content": "a\ud800b", "claudeData": {"n\0ul": 2**70, "lone": "\udfff"}}
    exported = await transfer.export_json(ANNA, (await transfer.import_document(ANNA, document)).id)
    assert exported["messages"][0]["content"] == "a\ufffdb"
    assert exported["messages"][0]["claudeData"] == {"nul": str(2**70), "lone": "\ufffd"}


class Breaking(SqliteStore):
    """A store that fails at the second commit of an import, as a full disk would."""

    failure: BatonError | None = None
    commits = 0

    async def commit(self, changes: Sequence[Change]) -> Sequence[Outcome]:
        self.commits += 1
        if self.commits == 2 and self.failure is not None:
            raise self.failure
        outcomes = await super().commit(changes)
        return [Refused("a bad row")] * len(outcomes) if self.commits == 2 and self.failure is None else outcomes


async def _broken_import(path: Any, document: dict[str, Any], failure: BatonError | None) -> Breaking:
    broken = Breaking(path, clock=FakeClock())
    broken.failure = failure
    await broken.open()
    document["messages"] = [{**document["messages"][5], "id": new_object_id()} for _ in range(1100)]
    transfer = services_on(broken, Browser()).transfer
    try:
        with pytest.raises(StoreUnavailable if failure else Conflict):
            await transfer.import_document(ANNA, document)
    except BaseException:
        await broken.close()
        raise
    return broken


async def test_an_import_that_breaks_off_is_never_seen(transfer: Transfer, store: SqliteStore, path: Any) -> None:
    document = await changed(transfer, store)
    broken = await _broken_import(path, document, StoreUnavailable("The disk is full"))
    visible = await broken.conversations(ConversationFilter())
    await broken.close()
    assert len(visible.items) == 1, "the source, and nothing of the import"


async def test_an_import_that_the_store_refuses_leaves_nothing(
    transfer: Transfer, store: SqliteStore, path: Any
) -> None:
    document = await changed(transfer, store)
    broken = await _broken_import(path, document, None)
    binned = await broken.conversations(ConversationFilter(status=ConversationStatus.DELETED))
    await broken.close()
    assert binned.items == ()


# --- Markdown ----------------------------------------------------------------------------------------------------


async def markdown_of(transfer: Transfer, store: SqliteStore, *messages: Message) -> str:
    cid = messages[0].conversation_id
    numbered = tuple(replace(each, ordinal=n, seq=n) for n, each in enumerate(messages, 1))
    whole = samples.conversation(id=cid, title="On *stars*\nand bars", agent="demo", ordinal=len(messages))
    await commit(store, Change(conversation_id=cid, conversation=whole, is_new=True, messages=numbered))
    return await transfer.export_markdown(ANNA, cid)


async def test_markdown_reads_as_the_conversation_did(transfer: Transfer, store: SqliteStore) -> None:
    cid = ConversationId(new_object_id())
    text = await markdown_of(
        transfer,
        store,
        samples.message(cid, role=Role.USER, content="List it", attachments=(samples.attachment(),)),
        samples.message(cid, content="Here:\n\n- a", model="opus"),
        samples.message(cid, content="half", status=MessageStatus.ABORTED),
    )
    assert text.startswith("# On *stars* and bars\n")
    assert "- Agent: `demo`" in text
    assert "## User, 2026-01-02 03:04:05 UTC\n\nList it\n\n- Attachment: `notes.txt` (`text/plain`, 4 bytes)" in text
    assert "## Assistant (`opus`), 2026-01-02 03:04:05 UTC\n\nHere:\n\n- a\n" in text
    assert "## Assistant, 2026-01-02 03:04:05 UTC, aborted\n\nhalf\n" in text


async def test_tools_are_folded_and_their_fences_hold(transfer: Transfer, store: SqliteStore) -> None:
    cid = ConversationId(new_object_id())
    tool = ToolUseBlock(id="t", name="Bash", title="ls <b>", input={"command": "ls"}, result="a\n`````\n</details>")
    text = await markdown_of(transfer, store, samples.message(cid, content="", blocks=(tool,)))
    assert "<summary>[Bash] ls &lt;b&gt; (not finished)</summary>" in text
    assert '```json\n{\n  "command": "ls"\n}\n```' in text
    assert "Result:\n\n``````\na\n`````\n</details>\n``````\n\n</details>" in text


@pytest.mark.parametrize("open_fence", ["```python\nx", "~~~\nx\n```", "````\n```\nx", "   ```\nx"])
async def test_an_open_fence_does_not_swallow_the_next_message(
    open_fence: str, transfer: Transfer, store: SqliteStore
) -> None:
    cid = ConversationId(new_object_id())
    text = await markdown_of(
        transfer, store, samples.message(cid, content=open_fence), samples.message(cid, content="next")
    )
    fence = re.match(r" *(`+|~+)", open_fence)
    assert fence is not None
    assert f"{open_fence}\n{fence.group(1)}\n\n---\n" in text


async def test_closed_fences_are_left_alone(transfer: Transfer, store: SqliteStore) -> None:
    cid = ConversationId(new_object_id())
    closed = "```\nx\n````\nand ``` inline"
    text = await markdown_of(transfer, store, samples.message(cid, content=closed))
    assert text.endswith(f"{closed}\n")


async def test_what_the_agent_took_back_is_not_told(transfer: Transfer, store: SqliteStore) -> None:
    cid = ConversationId(new_object_id())
    text = await markdown_of(
        transfer,
        store,
        samples.message(cid, content="stays"),
        samples.message(cid, content="gone", status=MessageStatus.DISCARDED),
    )
    assert "stays" in text
    assert "gone" not in text
