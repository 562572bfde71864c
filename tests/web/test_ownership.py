"""Whose things are: every route and every event has its decision here, and what is another's is not there.

A route, or an event of a client or of the server, that is new and is not decided on in these tables fails a test.
"""

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import pytest

from baton.core.commands import CreateGrant, CreateProject, Identity, SendMessage
from baton.core.errors import BatonError
from baton.core.frames import PermissionRequest, PromptAsked, Started
from baton.core.ids import ConversationId, RequestId, new_object_id
from baton.core.limits import Limits
from baton.core.models import PromptOption, PromptType
from baton.core.permissions import GrantScope
from baton.schemas import browser
from baton.web.fanout import Fanout
from baton.web.rest.route import ADMINS, Route
from baton.web.rest.table import ROUTES
from baton.web.sockets import ACTIONS, Ask
from baton.web.wire import error_body
from tests.services.harness import LOCAL
from tests.web.rest_stage import TOKENS, Answered, Stage
from tests.web.socket_stage import open_stage
from tests.web.test_wire import EVERYWHERE

ANNA, BEN, ROOT = TOKENS["user-token"], TOKENS["other-token"], TOKENS["admin-token"]
ANNAS, BENS, ROOTS = "user-token", "other-token", "admin-token"
NEW = new_object_id

OWN: Final = "own"
"""Of one thing that its path names: another's is not found, exactly as if it did not exist."""
LIMITED: Final = "limited"
"""A list, or something done to all: to what is theirs."""
SHARED: Final = "shared"
"""The same for all people: projects, bridges, numbers."""
MAKERS: Final = "makers"
"""Everybody sees it; who made it, and admins, change it."""
NEWLY: Final = "newly"
"""Makes something of the asker's own."""
PERSONAL: Final = "personal"
"""For the sockets of one person; not even admins hear of it."""
ADMIN: Final = "admin"
PUBLIC: Final = "public"

_C = "/api/chat/conversations"
_ONE = f"{_C}/{{conversationId}}"
REST: Final[Mapping[tuple[str, str], str]] = {
    ("GET", "/health"): PUBLIC,
    ("GET", "/health/live"): PUBLIC,
    ("GET", "/health/ready"): PUBLIC,
    ("GET", "/metrics"): SHARED,
    ("GET", "/api/openapi.json"): PUBLIC,
    ("GET", "/api/bridges"): SHARED,
    ("GET", "/api/stats"): ADMIN,
    ("GET", "/api/stats/series"): ADMIN,
    ("POST", "/api/chat/test-latency"): SHARED,
    ("POST", "/api/login"): PUBLIC,
    ("POST", "/api/logout"): PUBLIC,
    ("GET", "/api/me"): SHARED,
    ("GET", "/api/projects"): SHARED,
    ("POST", "/api/projects"): NEWLY,
    ("GET", "/api/projects/{projectId}"): SHARED,
    ("PATCH", "/api/projects/{projectId}"): MAKERS,
    ("DELETE", "/api/projects/{projectId}"): MAKERS,
    ("GET", _C): LIMITED,
    ("POST", _C): NEWLY,
    ("POST", f"{_C}/reset-active"): LIMITED,
    ("GET", _ONE): OWN,
    ("PATCH", _ONE): OWN,
    ("DELETE", _ONE): OWN,
    ("POST", f"{_ONE}/restore"): OWN,
    ("PUT", f"{_ONE}/archive"): OWN,
    ("POST", f"{_ONE}/fork"): OWN,
    ("PUT", f"{_ONE}/session"): OWN,
    ("DELETE", f"{_ONE}/session"): OWN,
    ("DELETE", "/api/chat/sessions/clear"): LIMITED,
    ("GET", f"{_ONE}/permission-mode"): OWN,
    ("POST", f"{_ONE}/permission-mode"): OWN,
    ("GET", f"{_ONE}/messages"): OWN,
    ("POST", f"{_ONE}/messages"): OWN,
    ("GET", "/api/chat/search"): LIMITED,
    ("GET", f"{_ONE}/export"): OWN,
    ("POST", "/api/chat/import"): NEWLY,
    ("GET", "/api/chat/runs"): LIMITED,
    ("POST", "/api/chat/runs/{requestId}/abort"): OWN,
    ("GET", "/api/chat/prompts"): LIMITED,
    ("GET", f"{_ONE}/prompts/pending"): OWN,
    ("GET", "/api/chat/prompts/{promptId}"): OWN,
    ("POST", "/api/chat/prompts/{promptId}/respond"): OWN,
    ("POST", f"{_ONE}/respond"): OWN,
    ("GET", f"{_ONE}/permissions"): OWN,
    ("POST", f"{_ONE}/permissions"): OWN,
    ("DELETE", f"{_ONE}/permissions/{{grantId}}"): OWN,
    ("GET", "/api/permissions"): ADMIN,
    ("POST", "/api/permissions"): ADMIN,
    ("DELETE", "/api/permissions/{grantId}"): ADMIN,
    ("GET", "/api/audit"): ADMIN,
    ("POST", "/api/attachments"): NEWLY,
    ("GET", "/api/attachments/{attachmentId}"): OWN,
    ("GET", "/api/bridges/sessions"): SHARED,
    ("POST", "/api/bridges/sessions/import"): NEWLY,
    ("GET", "/api/tokens"): ADMIN,
    ("POST", "/api/tokens"): ADMIN,
    ("DELETE", "/api/tokens/{tokenId}"): ADMIN,
}
EVENTS: Final[Mapping[str, str]] = {
    "join-conversation": OWN,
    "leave-conversation": SHARED,
    "join-project": SHARED,
    "leave-project": SHARED,
    "chat:send-message": OWN,
    "chat:abort": OWN,
    "chat:retry": OWN,
    "chat:extend": OWN,
    "chat:queue-update": OWN,
    "chat:queue-remove": OWN,
    "chat:queue-move": OWN,
    "chat:queue-resume": OWN,
    "conversation:create": NEWLY,
    "conversation:check": OWN,
    "conversation:seen": OWN,
    "permission:respond": OWN,
    "prompt:seen": OWN,
    "prompt:extend": OWN,
    "permission:get-mode": OWN,
    "permission:set-mode": OWN,
    "bridge:list": SHARED,
    "bridge:files": OWN,
    "bridge:commands": OWN,
    "latency:ping": SHARED,
}
TOLD: Final[Mapping[str, str]] = {
    "conversation:state": OWN,
    "chat:conversation-created": OWN,
    "conversation:updated": OWN,
    "conversation:deleted": OWN,
    "conversation:seen": PERSONAL,
    "project:updated": SHARED,
    "project:deleted": SHARED,
    "permission_escalation": OWN,
    "bridge:status": SHARED,
    "server:draining": SHARED,
}


def decided(decision: str) -> list[Route]:
    """The routes with this decision."""
    return [route for route in ROUTES if REST.get((route.method, route.path)) == decision]


def name_of(route: Route) -> str:
    return f"{route.method} {route.path}"


# --- somebody else's things --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Things:
    """One of everything that belongs to a conversation; or ids of which nothing is there."""

    conversationId: str  # noqa: N815 - as paths and payloads name them
    requestId: str  # noqa: N815
    promptId: str  # noqa: N815
    grantId: str  # noqa: N815
    attachmentId: str  # noqa: N815
    projectId: str  # noqa: N815

    def path(self, route: Route) -> str:
        return route.path.format(**{name: getattr(self, name) for name in route.parameters})


NOTHING: Final = Things(NEW(), "nobody-asked-this", NEW(), NEW(), NEW(), NEW())


async def things_of(running: Stage, who: Identity, name: str = "secret") -> Things:
    """A conversation of `who`'s with a file, a run that waits for an answer, and one that waits behind it."""
    services = running.services
    file = await services.attachments.add(who, filename="a.txt", mime_type="text/plain", content=b"1234")
    project = await services.projects.create(who, CreateProject(name="Garden"))
    first, second = RequestId(f"{name}-1"), RequestId(f"{name}-2")
    sent = await services.runs.send(
        who,
        SendMessage(request_id=first, content=f"{name} words", project_id=project.id, attachments=(file.id,)),
    )
    conversation_id = sent.conversation_id
    await services.runs.send(who, SendMessage(request_id=second, content="later", conversation_id=conversation_id))
    options = (PromptOption(id="allow_once", label="Allow"), PromptOption(id="deny", label="Deny"))
    asked = PromptAsked(prompt_id="p", type=PromptType.TOOL_PERMISSION, title="Run?", options=options)
    services.intake.receive(LOCAL, Started(request_id=first, seq=1))
    services.intake.receive(LOCAL, PermissionRequest(request_id=first, seq=2, prompt=asked))
    await services.intake.flush()
    (prompt,) = await services.prompts.pending(who, conversation_id)
    grant = await services.permissions.give(who, conversation_id, CreateGrant(tool_name="Bash", pattern="make test"))
    return Things(conversation_id, second, prompt.id, grant.id, file.id, project.id)


BODIES: Final[Mapping[tuple[str, str], Callable[[Things], Any]]] = {
    ("PATCH", _ONE): lambda _: {"title": "mine now"},
    ("PUT", f"{_ONE}/session"): lambda _: {"claudeSessionId": "s"},
    ("POST", f"{_ONE}/permission-mode"): lambda _: {"mode": "plan"},
    ("POST", f"{_ONE}/messages"): lambda _: {"content": "let me in"},
    ("POST", f"{_ONE}/permissions"): lambda _: {"toolName": "Bash"},
    ("POST", "/api/chat/prompts/{promptId}/respond"): lambda _: {"selectedOption": "deny"},
    ("POST", f"{_ONE}/respond"): lambda things: {"promptId": things.promptId, "selectedOption": "deny"},
    ("PATCH", "/api/projects/{projectId}"): lambda _: {"name": "mine now"},
    ("DELETE", "/api/projects/{projectId}"): lambda _: None,
}


async def ask(running: Stage, route: Route, things: Things, token: str) -> Answered:
    """One request for these things."""
    body = BODIES.get((route.method, route.path), lambda _: None)(things)
    return await running.ask(route.method, things.path(route), token=token, json=body)


async def everything(running: Stage, things: Things) -> dict[str, Any]:
    """What anna sees of hers."""
    here = f"{_C}/{things.conversationId}"
    parts = ("", "/messages", "/prompts/pending", "/permissions", "/permission-mode")
    return {part: await running.get(here + part, token=ANNAS) for part in parts}


# --- REST --------------------------------------------------------------------------------------------------------


def test_every_route_is_decided_on() -> None:
    assert {(route.method, route.path) for route in ROUTES} == set(REST)


def test_admins_routes_are_those_that_the_table_of_routes_gives_to_admins() -> None:
    assert {name_of(route) for route in decided(ADMIN)} == {name_of(route) for route in ROUTES if route.roles == ADMINS}
    assert {name_of(route) for route in decided(PUBLIC)} == {name_of(route) for route in ROUTES if route.is_public}


async def test_what_is_anothers_answers_as_what_does_not_exist_and_stays_as_it_is(rest: Stage) -> None:
    things = await things_of(rest, ANNA)
    before = await everything(rest, things)
    for route in decided(OWN):
        foreign, missing = await ask(rest, route, things, BENS), await ask(rest, route, NOTHING, BENS)
        assert foreign.status == 404, name_of(route)
        assert (foreign.status, foreign.content) == (missing.status, missing.content), name_of(route)
    assert await everything(rest, things) == before


@pytest.mark.parametrize("route", decided(OWN), ids=name_of)
async def test_its_user_and_admins_are_let_in(rest: Stage, route: Route) -> None:
    for number, token in enumerate((ANNAS, ROOTS)):
        things = await things_of(rest, ANNA, f"secret-{number}")
        answered = await ask(rest, route, things, token)
        assert answered.status < 300, answered.content
        await rest.ask("POST", f"{_C}/reset-active", token=ROOTS)


async def test_admins_routes_are_forbidden_to_users(rest: Stage) -> None:
    for route in decided(ADMIN):
        answered = await rest.ask(
            route.method, route.path.replace("{tokenId}", NEW()).replace("{grantId}", NEW()), token=ANNAS
        )
        assert (answered.status, answered.code) == (403, "forbidden"), name_of(route)


async def test_lists_hold_what_is_theirs(rest: Stage) -> None:
    things = await things_of(rest, ANNA)
    for path in (_C, "/api/chat/runs", "/api/chat/prompts", "/api/chat/search?q=secret"):
        for token, is_there in ((ANNAS, True), (ROOTS, True), (BENS, False)):
            answered = await rest.ask("GET", path, token=token)
            assert (things.conversationId.encode() in answered.content) is is_there, (path, token)


async def test_a_list_asked_for_by_user_is_an_admins_or_ones_own(rest: Stage) -> None:
    things = await things_of(rest, ANNA)
    for token, user, is_there in (
        (ANNAS, "anna", True),
        (ROOTS, "anna", True),
        (ROOTS, "ben", False),
        (BENS, "anna", False),
    ):
        answered = await rest.ask("GET", f"{_C}?userId={user}", token=token)
        assert answered.status == 200
        assert (things.conversationId.encode() in answered.content) is is_there, (token, user)


async def test_a_user_resets_and_clears_what_is_that_users_only(rest: Stage) -> None:
    things = await things_of(rest, ANNA)
    await rest.ask("PUT", f"{_C}/{things.conversationId}/session", token=ANNAS, json={"claudeSessionId": "s"})
    assert (await rest.ask("POST", f"{_C}/reset-active", token=BENS)).body["runs"] == 0
    assert (await rest.ask("DELETE", "/api/chat/sessions/clear", token=BENS)).body["cleared"] == 0
    assert (await rest.ask("POST", f"{_C}/reset-active", token=ANNAS)).body["runs"] == 2
    assert (await rest.ask("DELETE", "/api/chat/sessions/clear", token=ANNAS)).body["cleared"] == 1


async def test_who_made_a_project_and_admins_change_it(rest: Stage) -> None:
    things = await things_of(rest, ANNA)
    for route in decided(MAKERS):
        refused = await ask(rest, route, things, BENS)
        assert (refused.status, refused.code) == (403, "forbidden"), name_of(route)
    assert (await rest.get(f"/api/projects/{things.projectId}", token=BENS))["project"]["name"] == "Garden"
    for route, token in zip(decided(MAKERS), (ANNAS, ROOTS), strict=True):
        assert (await ask(rest, route, things, token)).status == 200, name_of(route)


async def test_another_users_file_cannot_be_sent_along(rest: Stage) -> None:
    things = await things_of(rest, ANNA)
    conversation = await rest.ask("POST", _C, token=BENS)
    here = f"{_C}/{conversation.body['conversation']['id']}"
    answers = [
        await rest.ask("POST", f"{here}/messages", token=BENS, json={"content": "x", "attachments": [attachment]})
        for attachment in (things.attachmentId, NOTHING.attachmentId)
    ]
    assert [answer.status for answer in answers] == [404, 404]
    texts = [answer.body["error"]["message"] for answer in answers]
    assert texts[0].replace(things.attachmentId, "") == texts[1].replace(NOTHING.attachmentId, "")
    assert (await rest.ask("GET", f"/api/attachments/{things.attachmentId}", token=BENS)).status == 404


async def test_who_may_see_a_conversation_reads_its_files_whoever_uploaded_them(rest: Stage) -> None:
    file = await rest.services.attachments.add(ROOT, filename="a", mime_type="text/plain", content=b"x")
    here = await rest.conversation()
    command = SendMessage(
        request_id=RequestId("r"),
        content="see",
        conversation_id=ConversationId(here.rpartition("/")[2]),
        attachments=(file.id,),
    )
    await rest.services.runs.send(ROOT, command)
    assert (await rest.ask("GET", f"/api/attachments/{file.id}", token=ANNAS)).content == b"x"
    assert (await rest.ask("GET", f"/api/attachments/{file.id}", token=BENS)).status == 404


async def test_a_known_request_id_tells_nothing_but_that_it_is_taken(rest: Stage) -> None:
    things = await things_of(rest, ANNA)
    body = {"requestId": things.requestId, "content": "later"}
    own = await rest.ask("POST", _C, token=BENS)
    here = f"{_C}/{own.body['conversation']['id']}"
    foreign = await rest.ask("POST", f"{here}/messages", token=BENS, json=body)
    await rest.ask("POST", f"{here}/messages", token=BENS, json={"requestId": "bens", "content": "a"})
    ownly = await rest.ask("POST", f"{here}/messages", token=BENS, json={"requestId": "bens", "content": "b"})
    assert foreign.status == 409
    assert foreign.content == ownly.content


# --- grants ------------------------------------------------------------------------------------------------------


async def test_what_a_user_grants_for_all_reaches_that_users_conversations_and_an_admins_everybodys(
    rest: Stage,
) -> None:
    annas, bens = await things_of(rest, ANNA, "a"), await things_of(rest, BEN, "b")
    body = {"toolName": "WebSearch", "scope": "all"}
    given = await rest.ask("POST", f"{_C}/{annas.conversationId}/permissions", token=ANNAS, json=body)
    assert given.body["permission"]["userId"] == "anna"
    everybodys = await rest.ask("POST", f"{_C}/{annas.conversationId}/permissions", token=ROOTS, json=body)
    assert everybodys.body["permission"]["userId"] is None
    listed = (await rest.get(f"{_C}/{bens.conversationId}/permissions", token=BENS))["permissions"]
    ids = {grant["id"] for grant in listed}
    assert given.body["permission"]["id"] not in ids
    assert everybodys.body["permission"]["id"] in ids
    standing = rest.services.lanes.standing
    reaching = {grant.id for grant in standing.reaching(ConversationId(bens.conversationId), None, BEN.user_id)}
    assert given.body["permission"]["id"] not in reaching
    assert everybodys.body["permission"]["id"] in reaching


async def test_a_user_cannot_take_back_what_an_admin_gave_to_everybody(rest: Stage) -> None:
    things = await things_of(rest, ANNA)
    grant = await rest.services.permissions.give(
        ROOT, ConversationId(things.conversationId), CreateGrant(tool_name="Bash", scope=GrantScope.ALL)
    )
    here = f"{_C}/{things.conversationId}/permissions/{grant.id}"
    refused = await rest.ask("DELETE", here, token=ANNAS)
    assert (refused.status, refused.code) == (403, "forbidden")
    assert (await rest.ask("DELETE", here, token=ROOTS)).status == 200


# --- socket events -----------------------------------------------------------------------------------------------

PAYLOADS: Final[Mapping[str, Callable[[Things], Any]]] = {
    "join-conversation": lambda things: things.conversationId,
    "chat:send-message": lambda things: {
        "requestId": "bens-own",
        "content": "let me in",
        "conversationId": things.conversationId,
    },
    "chat:abort": lambda things: {"requestId": things.requestId},
    "chat:retry": lambda things: {"requestId": things.requestId, "newRequestId": "bens-own"},
    "chat:extend": lambda things: {"requestId": things.requestId, "seconds": 5},
    "chat:queue-update": lambda things: {"requestId": things.requestId, "content": "changed"},
    "chat:queue-remove": lambda things: {"requestId": things.requestId},
    "chat:queue-move": lambda things: {"requestId": things.requestId, "position": 1},
    "chat:queue-resume": lambda things: {"conversationId": things.conversationId},
    "conversation:check": lambda things: {"conversationId": things.conversationId},
    "conversation:seen": lambda things: {"conversationId": things.conversationId, "seq": 1},
    "permission:respond": lambda things: {"promptId": things.promptId, "selectedOption": "deny"},
    "prompt:seen": lambda things: {"promptId": things.promptId},
    "prompt:extend": lambda things: {"promptId": things.promptId, "seconds": 5},
    "permission:get-mode": lambda things: {"conversationId": things.conversationId},
    "permission:set-mode": lambda things: {"conversationId": things.conversationId, "mode": "plan"},
    "bridge:files": lambda things: {"conversationId": things.conversationId},
    "bridge:commands": lambda things: {"conversationId": things.conversationId},
}


async def say(running: Stage, name: str, things: Things, who: Identity) -> dict[str, Any]:
    """The acknowledgement of one event."""
    limits = Limits()
    with contextlib.ExitStack() as answered:
        said = Ask("a-socket", who, running.services, Fanout(limits), answered)
        try:
            return {"ok": True, **await ACTIONS[name](said, browser.load_event(name, PAYLOADS[name](things), limits))}
        except BatonError as error:
            return error_body(error)


def test_every_event_of_a_client_is_decided_on() -> None:
    assert set(EVENTS) == set(ACTIONS) == set(browser.EVENTS)
    assert set(PAYLOADS) == {name for name, decision in EVENTS.items() if decision == OWN}


async def test_an_event_about_anothers_is_answered_as_about_what_does_not_exist(rest: Stage) -> None:
    things = await things_of(rest, ANNA)
    before = await everything(rest, things)
    for name in PAYLOADS:
        foreign, missing = await say(rest, name, things, BEN), await say(rest, name, NOTHING, BEN)
        assert foreign == missing, name
        if name == "conversation:check":
            assert foreign == {"ok": True, "exists": False}
        else:
            assert foreign["error"]["code"] == "not_found", name
    assert await everything(rest, things) == before


@pytest.mark.parametrize("name", sorted(PAYLOADS))
@pytest.mark.parametrize("who", [ANNA, ROOT], ids=["its user", "an admin"])
async def test_an_event_about_ones_own_is_carried_out(rest: Stage, name: str, who: Identity) -> None:
    answer = await say(rest, name, await things_of(rest, ANNA), who)
    # Some have nothing to do here: a run that waits cannot be retried, and has no deadline.
    assert answer["ok"] or answer["error"]["code"] == "conflict", answer


# --- what the server tells ---------------------------------------------------------------------------------------


def test_every_event_outside_rooms_is_decided_on() -> None:
    assert {name for _, name, _ in EVERYWHERE} == set(TOLD)


async def test_sockets_hear_of_their_users_conversations_and_admins_of_all() -> None:
    async with open_stage() as running:
        sockets = {
            name: await running.websocket(token=token)
            for name, token in (("anna", "a-token"), ("ben", "another-token"), ("root", "an-admins-token"))
        }
        heard: dict[str, list[str]] = {name: [] for name in sockets}
        running.fanout.publish([event for event, _, _ in EVERYWHERE])
        for name, socket in sockets.items():
            while not heard[name] or heard[name][-1] != "server:draining":
                heard[name].append((await socket.next_event())[0])
        everything_told = [name for _, name, _ in EVERYWHERE]
        assert heard["anna"] == everything_told
        assert heard["root"] == [name for name in everything_told if TOLD[name] != PERSONAL]
        assert heard["ben"] == [name for name in everything_told if TOLD[name] == SHARED]


async def test_a_socket_that_has_gone_is_told_nothing_more() -> None:
    async with open_stage() as running:
        for token in ("a-token", "an-admins-token"):
            socket = await running.websocket(token=token)
            await socket.ws.close()
        await running.until_gone()
        running.fanout.publish([event for event, _, _ in EVERYWHERE])
        assert running.fanout.events_out == 0
