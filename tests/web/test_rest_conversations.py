"""Projects, conversations, their session and mode, over REST."""

from baton.core.ids import ConversationId, new_object_id
from baton.web.rest.table import ROUTES
from tests.web.rest_stage import TOKENS, Stage


async def test_a_project_lives_through_rest(rest: Stage) -> None:
    made = await rest.ask("POST", "/api/projects", json={"name": "Garden", "workingDirectory": "/srv"})
    assert made.status == 201
    path = f"/api/projects/{made.body['project']['id']}"
    patched = await rest.ask("PATCH", path, json={"workingDirectory": None})
    assert (patched.body["project"]["name"], patched.body["project"]["workingDirectory"]) == ("Garden", None)
    assert (await rest.get("/api/projects"))["projects"] == [patched.body["project"]]
    assert (await rest.ask("DELETE", path)).body == {"ok": True}
    assert (await rest.ask("GET", path)).code == "not_found"


async def test_a_conversation_lives_through_rest(rest: Stage) -> None:
    made = await rest.ask("POST", "/api/chat/conversations", json={"title": "Roses", "requestId": "c1"})
    assert made.status == 201
    path = f"/api/chat/conversations/{made.body['conversation']['id']}"
    assert (await rest.get(path))["conversation"]["title"] == "Roses"
    patched = await rest.ask("PATCH", path, json={"title": "Tulips", "model": "m"})
    assert (patched.body["conversation"]["title"], patched.body["conversation"]["model"]) == ("Tulips", "m")
    assert (await rest.ask("PUT", f"{path}/archive")).body["conversation"]["status"] == "archived"
    assert (await rest.ask("DELETE", path)).body["conversation"]["status"] == "deleted"
    assert (await rest.ask("POST", f"{path}/restore")).body["conversation"]["status"] == "active"


async def test_the_same_creation_twice_makes_one_conversation(rest: Stage) -> None:
    first = await rest.ask("POST", "/api/chat/conversations", json={"requestId": "c1"})
    second = await rest.ask("POST", "/api/chat/conversations", json={"requestId": "c1"})
    assert first.body == second.body


async def test_conversations_are_paged_to_the_end(rest: Stage) -> None:
    made = set()
    for _ in range(5):
        rest.clock.advance(1)
        made.add((await rest.conversation()).rpartition("/")[2])
    seen: list[str] = []
    cursor = ""
    while True:
        page = await rest.get(f"/api/chat/conversations?limit=2{cursor}")
        seen += [conversation["id"] for conversation in page["conversations"]]
        if page["next"] is None:
            break
        cursor = f"&next={page['next']}"
    assert len(seen) == 5
    assert set(seen) == made


async def test_conversations_are_filtered_by_project_status_and_session(rest: Stage) -> None:
    project = (await rest.ask("POST", "/api/projects", json={"name": "Garden"})).body["project"]["id"]
    mine = await rest.ask("POST", "/api/chat/conversations", json={"projectId": project})
    path = f"/api/chat/conversations/{mine.body['conversation']['id']}"
    await rest.conversation()
    await rest.ask("PUT", f"{path}/session", json={"claudeSessionId": "s-1"})
    await rest.ask("PUT", f"{path}/archive")
    for query in (f"projectId={project}", "status=archived", "sessionId=s-1"):
        found = (await rest.get(f"/api/chat/conversations?{query}"))["conversations"]
        assert [conversation["id"] for conversation in found] == [path.rpartition("/")[2]], query


async def test_a_cursor_of_somebody_else_is_refused(rest: Stage) -> None:
    assert (await rest.ask("GET", "/api/chat/conversations?next=nonsense")).code == "invalid_payload"


async def test_a_fork_holds_what_was_said_up_to_the_message(rest: Stage) -> None:
    path = await rest.conversation()
    first = await rest.send(path, "one", requestId="r1")
    await rest.agent_says("r1", "1")
    await rest.send(path, "two", requestId="r2")
    await rest.agent_says("r2", "2")
    forked = await rest.ask("POST", f"{path}/fork", json={"atMessageId": first["messageId"]})
    assert forked.status == 201
    page = await rest.get(f"/api/chat/conversations/{forked.body['conversation']['id']}/messages")
    assert [message["content"] for message in page["messages"]] == ["one"]


async def test_a_session_is_set_and_cleared(rest: Stage) -> None:
    path = await rest.conversation()
    put = await rest.ask("PUT", f"{path}/session", json={"claudeSessionId": "s-1"})
    assert put.body["conversation"]["claudeSessionId"] == "s-1"
    assert (await rest.ask("DELETE", f"{path}/session")).body["conversation"]["claudeSessionId"] is None


async def test_all_sessions_are_cleared_at_once(rest: Stage) -> None:
    for _ in range(2):
        await rest.ask("PUT", f"{await rest.conversation()}/session", json={"claudeSessionId": "s"})
    await rest.conversation()
    assert (await rest.ask("DELETE", "/api/chat/sessions/clear")).body == {"ok": True, "cleared": 2}


async def test_the_mode_is_set_under_either_name(rest: Stage) -> None:
    for body in ({"mode": "plan"}, {"permissionMode": "plan"}, {"mode": "plan", "permissionMode": "plan"}):
        path = await rest.conversation()
        assert (await rest.ask("POST", f"{path}/permission-mode", json=body)).body == {"ok": True, "mode": "plan"}
        assert (await rest.get(f"{path}/permission-mode"))["mode"] == "plan"


async def test_interactive_is_another_word_for_default(rest: Stage) -> None:
    path = await rest.conversation()
    await rest.ask("POST", f"{path}/permission-mode", json={"mode": "plan"})
    assert (await rest.ask("POST", f"{path}/permission-mode", json={"mode": "interactive"})).body["mode"] == "default"


async def test_what_is_no_mode_is_refused(rest: Stage) -> None:
    path = await rest.conversation()
    for body in ({}, {"mode": "yolo"}, {"mode": "plan", "permissionMode": "default"}, {"mode": None}):
        refused = await rest.ask("POST", f"{path}/permission-mode", json=body)
        assert (refused.status, refused.code) == (400, "invalid_payload"), body
        assert "mode" in refused.body["error"]["fields"], body


async def test_a_conversation_that_is_not_there_is_not_found(rest: Stage) -> None:
    asked = [route for route in ROUTES if "conversationId" in route.parameters and route.body is None]
    assert len(asked) >= 9
    for route in asked:
        for unknown in (new_object_id(), "nonsense"):
            answered = await rest.ask(route.method, route.path.replace("{conversationId}", unknown))
            assert (answered.status, answered.code) == (404, "not_found"), route.path


async def test_a_list_says_up_to_where_whoever_asks_has_seen_each(rest: Stage) -> None:
    one, two = [(await rest.conversation()).rpartition("/")[2] for _ in range(2)]
    await rest.services.marks.note(TOKENS["user-token"], ConversationId(one), 0)
    assert (await rest.get("/api/chat/conversations"))["seen"] == {one: 0}
    assert two not in (await rest.get("/api/chat/conversations"))["seen"]


async def test_a_wide_grant_lives_through_rest(rest: Stage) -> None:
    project = (await rest.ask("POST", "/api/projects", json={"name": "Garden"})).body["project"]["id"]
    body = {"toolName": "Bash", "pattern": "npm test:*", "projectId": project, "effect": "deny"}
    given = await rest.ask("POST", "/api/permissions", json=body, token="admin-token")
    assert (given.status, given.body["permission"]["scope"]) == (201, "project")
    assert (await rest.get("/api/permissions", token="admin-token"))["permissions"] == [given.body["permission"]]
    path = f"/api/permissions/{given.body['permission']['id']}"
    assert (await rest.ask("DELETE", path, token="admin-token")).body["permission"]["status"] == "revoked"
    assert (await rest.ask("DELETE", path, token="admin-token")).code == "already_resolved"
    assert (await rest.get("/api/permissions", token="admin-token"))["permissions"] == []
    wrong = await rest.ask(
        "POST",
        "/api/permissions",
        json={"toolName": "no tool!", "expiresAt": "2020-01-01T00:00:00Z"},
        token="admin-token",
    )
    assert set(wrong.body["error"]["fields"]) == {"toolName", "expiresAt"}
    assert (await rest.ask("GET", "/api/permissions")).code == "forbidden"
