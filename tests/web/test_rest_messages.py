"""Sending, history, search, runs, prompts, export and import, over REST."""

import asyncio
import json

import pytest

from baton.core.ids import new_object_id
from tests.web.rest_stage import Stage


async def test_a_message_is_sent_and_its_answer_is_in_the_history(rest: Stage) -> None:
    path = await rest.conversation()
    sent = await rest.send(path, "Hello?", requestId="r1")
    assert (sent["requestId"], sent["status"], sent["run"]["status"]) == ("r1", "dispatched", "dispatched")
    await rest.agent_says("r1", "Hi 💬.")
    page = await rest.get(f"{path}/messages")
    assert [(message["role"], message["content"]) for message in page["messages"]] == [
        ("user", "Hello?"),
        ("assistant", "Hi 💬."),
    ]
    assert page["next"] is None


async def test_without_a_request_id_each_message_is_a_new_one(rest: Stage) -> None:
    path = await rest.conversation()
    first, second = await rest.send(path), await rest.send(path)
    assert first["requestId"] != second["requestId"]
    assert (second["status"], second["position"]) == ("queued", 1)


async def test_the_same_request_is_answered_the_same_and_another_payload_is_a_conflict(rest: Stage) -> None:
    path = await rest.conversation()
    first, again = await rest.send(path, requestId="r1"), await rest.send(path, requestId="r1")
    assert first == again
    other = await rest.ask("POST", f"{path}/messages", json={"content": "Other", "requestId": "r1"})
    assert (other.status, other.code) == (409, "conflict")
    stranger = await rest.ask(
        "POST", f"{path}/messages", json={"content": "Hello?", "requestId": "r1"}, token="other-token"
    )
    assert (stranger.status, stranger.code) == (409, "conflict")


async def test_an_id_in_the_body_must_be_that_of_the_path(rest: Stage) -> None:
    path = await rest.conversation()
    await rest.send(path, conversationId=path.rpartition("/")[2])
    refused = await rest.ask("POST", f"{path}/messages", json={"content": "x", "conversationId": new_object_id()})
    assert refused.body["error"]["fields"] == {"conversationId": ["Differs from the path."]}


async def test_history_is_paged_in_both_directions(rest: Stage) -> None:
    path = await rest.conversation()
    for n in range(3):
        await rest.send(path, f"q{n}", requestId=f"r{n}")
        await rest.agent_says(f"r{n}", f"a{n}")

    async def contents(query: str) -> tuple[list[str], int | None]:
        page = await rest.get(f"{path}/messages?{query}")
        return [message["content"] for message in page["messages"]], page["next"]

    newest, before = await contents("limit=4")
    assert newest == ["q1", "a1", "q2", "a2"]
    assert await contents(f"limit=4&before={before}") == (["q0", "a0"], None)
    oldest, after = await contents("limit=4&after=0")
    assert oldest == ["q0", "a0", "q1", "a1"]
    assert (await contents(f"limit=4&after={after}"))[0] == ["q2", "a2"]


async def test_a_wrong_query_is_refused_by_name(rest: Stage) -> None:
    path = await rest.conversation()
    for name, query in (
        ("limit", "limit=0"),
        ("limit", "limit=501"),
        ("limit", "limit=x"),
        ("limit", "limit=-1"),
        ("limit", "limit=1_0"),
        ("limit", "limit=%D9%A1"),
        ("after", "before=1&after=1"),
        ("limit", "limit=1&limit=2"),
        ("x", "x=1"),
    ):
        refused = await rest.ask("GET", f"{path}/messages?{query}")
        assert (refused.status, refused.code) == (400, "invalid_payload"), query
        assert set(refused.body["error"]["fields"]) == {name}, query


async def test_search_finds_what_was_said(rest: Stage) -> None:
    path = await rest.conversation()
    await rest.send(path, "Where do tulips grow?", requestId="r1")
    found = await rest.get("/api/chat/search?q=tulips%20grow")
    assert [hit["conversationId"] for hit in found["results"]] != []
    assert "\ue000" in found["results"][0]["snippet"]
    assert (await rest.get("/api/chat/search?q=roses"))["results"] == []


async def test_a_search_without_a_word_is_refused(rest: Stage) -> None:
    for query in ("", "q=", "q=%20", "q=%3F!", "q=x&limit=101"):
        assert (await rest.ask("GET", f"/api/chat/search?{query}")).code == "invalid_payload", query


async def test_active_runs_are_listed_and_can_be_ended(rest: Stage) -> None:
    path = await rest.conversation()
    await rest.send(path, requestId="a/b %1")
    await rest.frames()
    assert [run["requestId"] for run in (await rest.get("/api/chat/runs?status=active"))["runs"]] == ["a/b %1"]
    rest.bridge.connected = False
    aborted = await rest.ask("POST", "/api/chat/runs/a%2Fb%20%251/abort")
    assert aborted.body["run"]["requestId"] == "a/b %1"
    assert aborted.body["run"]["status"] == "aborted"


async def test_a_run_that_has_ended_answers_with_the_winner(rest: Stage) -> None:
    path = await rest.conversation()
    await rest.send(path, requestId="r1")
    await rest.agent_says("r1", "done")
    late = await rest.ask("POST", "/api/chat/runs/r1/abort")
    assert (late.status, late.code, late.body["run"]["status"]) == (409, "already_resolved", "completed")


@pytest.mark.parametrize("by_prompt", [True, False])
async def test_a_prompt_is_found_and_answered_once(rest: Stage, by_prompt: bool) -> None:
    path = await rest.conversation()
    await rest.send(path, requestId="r1")
    prompt_id = await rest.agent_asks("r1")
    assert [each["id"] for each in (await rest.get(f"{path}/prompts/pending"))["prompts"]] == [prompt_id]
    assert (await rest.get(f"/api/chat/prompts/{prompt_id}"))["prompt"]["status"] == "pending"
    where, named = (f"/api/chat/prompts/{prompt_id}", {}) if by_prompt else (path, {"promptId": prompt_id})
    first = await rest.ask("POST", f"{where}/respond", json={"selectedOption": "deny", "message": "No.", **named})
    assert (first.status, first.body["prompt"]["selectedOption"]) == (200, "deny")
    second = await rest.ask("POST", f"{where}/respond", json={"selectedOption": "allow_once", **named})
    assert (second.status, second.code, second.body["prompt"]["selectedOption"]) == (409, "already_resolved", "deny")


async def test_a_prompt_is_not_answered_through_another_conversation(rest: Stage) -> None:
    await rest.send(await rest.conversation(), requestId="r1")
    prompt_id = await rest.agent_asks("r1")
    answered = await rest.ask(
        "POST", f"{await rest.conversation()}/respond", json={"promptId": prompt_id, "selectedOption": "deny"}
    )
    assert (answered.status, answered.code) == (404, "not_found")


async def test_reset_ends_what_is_active_and_counts_it(rest: Stage) -> None:
    await rest.send(await rest.conversation(), requestId="r1")
    await rest.agent_asks("r1")
    await rest.send(await rest.conversation(), requestId="r2")
    reset = await rest.ask("POST", "/api/chat/conversations/reset-active")
    assert reset.body == {"ok": True, "runs": 2, "prompts": 1}
    [prompt] = (await rest.get("/api/chat/prompts?status=cancelled"))["prompts"]
    assert prompt["autoHandler"] == "cleanup"


async def test_an_export_is_imported_again(rest: Stage) -> None:
    path = await rest.conversation()
    await rest.send(path, "Hello?", requestId="r1")
    await rest.agent_says("r1", "Hi.")
    exported = await rest.ask("GET", f"{path}/export")
    assert exported.headers["Content-Type"] == "application/json; charset=utf-8"
    assert exported.headers["Content-Disposition"].startswith("attachment;")
    imported = await rest.ask("POST", "/api/chat/import", data=exported.content)
    assert imported.status == 201
    page = await rest.get(f"/api/chat/conversations/{imported.body['conversation']['id']}/messages")
    assert [message["content"] for message in page["messages"]] == ["Hello?", "Hi."]


async def test_an_export_as_markdown_is_text_for_people(rest: Stage) -> None:
    path = await rest.conversation()
    await rest.send(path, "Hello?", requestId="r1")
    exported = await rest.ask("GET", f"{path}/export?format=md")
    assert exported.headers["Content-Type"] == "text/markdown; charset=utf-8"
    assert b"## User" in exported.content


async def test_asking_only_for_the_head_of_an_export_leaves_the_connection_whole(rest: Stage) -> None:
    path = await rest.conversation()
    host, port = rest.url.removeprefix("http://").split(":")
    head = f"HTTP/1.1\r\nHost: {host}:{port}\r\nAuthorization: Bearer user-token\r\n"
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"HEAD {path}/export {head}\r\nGET /health/live {head}Connection: close\r\n\r\n".encode())
    answers = await reader.read()
    writer.close()
    assert answers.count(b"HTTP/1.1 200 OK") == 2
    assert b"baton.conversation" not in answers


async def test_an_import_may_be_larger_than_other_bodies_but_not_without_end(rest: Stage) -> None:
    exported = (await rest.ask("GET", f"{await rest.conversation()}/export")).content
    padded = exported + b" " * 100_000
    assert (await rest.ask("POST", "/api/chat/import", data=padded)).status == 201
    refused = await rest.ask("POST", "/api/chat/import", data=exported + b" " * 200_000)
    assert (refused.status, refused.code) == (413, "too_large")


async def test_a_document_that_is_none_is_refused_by_its_fields(rest: Stage) -> None:
    refused = await rest.ask("POST", "/api/chat/import", data=json.dumps({"format": "x"}))
    assert (refused.status, refused.code) == (400, "invalid_payload")
    assert "format" in refused.body["error"]["fields"]
