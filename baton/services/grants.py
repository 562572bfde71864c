"""Grants: what makes a valid one, what an answer of "always" comes to, and which calls a grant means.

Pure. An allowing grant means a call only where every part of it is known and covered; a denying one already where one
part is met, and says "nobody can tell" (None) where parts cannot be known.
"""

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import Final

from baton.core.commands import Identity
from baton.core.errors import InvalidRequest
from baton.core.ids import ConversationId, ProjectId, UserId, new_object_id
from baton.core.models import Prompt, PromptType
from baton.core.permissions import Grant, GrantEffect, GrantId, GrantScope
from baton.services.folders import has_hidden_signs
from baton.services.tool_calls import Family, ToolCall, family_of, look_at

MAX_PATTERN_CHARS: Final = 500
MAX_LIFE: Final = timedelta(days=366)

_TOOL_NAME: Final = re.compile(r"[A-Za-z][\w.:-]{0,127}( [\w.:-]+){0,3}|mcp__[\w.-]+__\*")
_DOMAIN: Final = re.compile(r"(\*\.)?([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]*[a-z0-9])?")
_DENIED_TOGETHER: Final = (Family.SHELL, Family.EDIT, Family.READ, Family.FETCH)
"""Families whose tools do the same thing in other ways: who denies `Edit` does not mean that `Write` may."""


# --- making --------------------------------------------------------------------------------------------------------


def new_grant(
    *,
    scope: GrantScope,
    tool_name: str,
    now: datetime,
    by: UserId | None,
    pattern: str | None = None,
    effect: GrantEffect = GrantEffect.ALLOW,
    conversation_id: ConversationId | None = None,
    project_id: ProjectId | None = None,
    expires_at: datetime | None = None,
    bound_to: UserId | None = None,
) -> Grant:
    """A grant that is in force. `bound_to`: whose conversations alone it reaches, where its scope is more than one.

    Raises InvalidRequest, with the fields that are wrong.
    """
    wrong: dict[str, list[str]] = {}
    if not _TOOL_NAME.fullmatch(tool_name):
        wrong["toolName"] = ["Must be a tool's name, or `mcp__<server>__*` for all tools of a server."]
    if scope is GrantScope.CONVERSATION and conversation_id is None:
        wrong["conversationId"] = ["Must be given for this scope."]
    if scope is GrantScope.PROJECT and project_id is None:
        wrong["projectId"] = ["Must be given for this scope."]
    if expires_at is not None and not now < expires_at <= now + MAX_LIFE:
        wrong["expiresAt"] = [f"Must lie ahead, by at most {MAX_LIFE.days} days."]
    if wrong:
        raise InvalidRequest("This grant cannot be made", fields=wrong)
    if pattern is not None:
        check_pattern(tool_name, pattern)
    return Grant(
        id=GrantId(new_object_id()),
        scope=scope,
        conversation_id=conversation_id if scope is GrantScope.CONVERSATION else None,
        project_id=project_id if scope is GrantScope.PROJECT else None,
        tool_name=tool_name,
        pattern=pattern,
        effect=effect,
        expires_at=expires_at,
        created_by=by,
        created_at=now,
        user_id=None if scope is GrantScope.CONVERSATION else bound_to,
    )


def bound_to(who: Identity) -> UserId | None:
    """Whose conversations a grant that this person gives can reach: only an admin speaks for everybody (None)."""
    return None if who.is_admin else who.user_id


def check_pattern(tool_name: str, pattern: str) -> None:
    """Raises InvalidRequest where the pattern is not one of this tool's language."""
    if not pattern.strip() or len(pattern) > MAX_PATTERN_CHARS:
        raise _invalid(f"Must be 1 to {MAX_PATTERN_CHARS} characters.")
    match family_of(tool_name, None):
        case Family.SHELL:
            from baton.services import shell

            shell.check_pattern(pattern)
        case Family.EDIT | Family.READ | Family.SEARCH:
            _check_glob(pattern)
        case Family.FETCH if tool_name != "WebSearch":
            if not _DOMAIN.fullmatch(pattern):
                raise _invalid("Must be a host in small letters, such as `example.com` or `*.example.com`.")
        case _:
            raise _invalid("This tool takes no pattern.")


def _check_glob(pattern: str) -> None:
    parts = pattern.split("/")
    if pattern.startswith(("/", "~")) or ".." in parts or "\\" in pattern or has_hidden_signs(pattern):
        raise _invalid("Must be a path below the working directory, where `*` stands for anything.")


def _invalid(why: str) -> InvalidRequest:
    return InvalidRequest("This is no valid pattern", fields={"pattern": [why]})


def grants_from_answer(
    prompt: Prompt,
    option: str,
    *,
    kind: str | None,
    folder: str | None,
    by: UserId | None,
    now: datetime,
    bound_to: UserId | None = None,
) -> tuple[Grant, ...]:
    """What `allow_session` or `allow_always` leaves behind, as narrow as can be; nothing for every other option.

    A shell command gives one grant for each part that needs one, an edit or a read one for its file, a web page one
    for its host, any other tool one for the tool. Nothing where no pattern can say what was asked: then the answer
    counts once.
    """
    if prompt.type is not PromptType.TOOL_PERMISSION or prompt.tool_name is None:
        return ()
    if option not in ("allow_session", "allow_always") or not _TOOL_NAME.fullmatch(prompt.tool_name):
        return ()
    patterns = _patterns_for(look_at(prompt.tool_name, prompt.input, kind, folder))
    scope = GrantScope.CONVERSATION
    if option == "allow_always":
        scope = GrantScope.ALL if prompt.project_id is None else GrantScope.PROJECT
    return tuple(
        new_grant(
            scope=scope,
            tool_name=prompt.tool_name,
            pattern=pattern,
            conversation_id=prompt.conversation_id,
            project_id=prompt.project_id,
            by=by,
            now=now,
            bound_to=bound_to,
        )
        for pattern in patterns
    )


def _patterns_for(call: ToolCall) -> Sequence[str | None]:
    match call.family:
        case Family.SHELL:
            from baton.services import shell

            patterns = shell.patterns_for(call.reading, call.folder) if call.reading is not None else ()
            return [pattern for pattern in patterns if len(pattern) <= MAX_PATTERN_CHARS]
        case Family.EDIT | Family.READ | Family.SEARCH:
            places = call.places
            if any(place is None or re.search(r"[*?\[]", place) for place in places):
                return []
            return [place for place in places if place is not None]
        case Family.FETCH if call.tool != "WebSearch":
            return [call.domain] if call.domain is not None and _DOMAIN.fullmatch(call.domain) else []
    return [None]


# --- meaning -------------------------------------------------------------------------------------------------------


def denies(grant: Grant, call: ToolCall) -> bool | None:
    """Whether a denying grant means this call; None where it may, and nobody can tell."""
    if not _is_tool_denied(grant.tool_name, call):
        return False
    if grant.pattern is None:
        return True
    if not _is_sound(grant):
        return None
    match call.family:
        case Family.SHELL:
            from baton.services import shell

            return None if call.reading is None else shell.meets(call.reading, grant.pattern)
        case Family.EDIT | Family.READ | Family.SEARCH:
            return _meets_glob(grant.pattern, call)
        case Family.FETCH:
            return None if call.domain is None else _is_domain(grant.pattern, call.domain)
    return True


def _is_sound(grant: Grant) -> bool:
    """Whether its pattern is one: somebody may have written to the database by hand."""
    try:
        check_pattern(grant.tool_name, grant.pattern or "")
    except InvalidRequest:
        return False
    return True


def _is_tool_denied(name: str, call: ToolCall) -> bool:
    if _is_tool(name, call.tool):
        return True
    return call.family in _DENIED_TOGETHER and family_of(name, None) is call.family and not name.startswith("mcp__")


def _is_tool(name: str, tool: str) -> bool:
    return tool == name or (name.endswith("__*") and tool.startswith(name[:-1]))


def _meets_glob(pattern: str, call: ToolCall) -> bool | None:
    """Without regard to case: on some file systems `.ENV` is `.env`."""
    known = [place for place in call.places if place is not None]
    wanted = pattern.removeprefix("./").casefold()
    if any(fnmatchcase(place.casefold(), wanted) for place in known):
        return True
    return False if len(known) == len(call.places) else None


def covering(grants: Sequence[Grant], call: ToolCall) -> Sequence[Grant]:
    """The grants by which this call is allowed; none where it is not, or not wholly."""
    ours = [grant for grant in grants if _is_tool(grant.tool_name, call.tool)]
    whole = [grant for grant in ours if grant.pattern is None]
    if whole:
        return whole[:1]
    ours = [grant for grant in ours if _is_sound(grant)]
    patterns = [grant.pattern or "" for grant in ours]
    match call.family:
        case Family.SHELL if call.reading is not None:
            from baton.services import shell

            used = shell.covered_by(call.reading, patterns, call.folder)
            return [ours[index] for index in sorted(used)] if used else []
        case Family.EDIT | Family.READ | Family.SEARCH:
            found = [_covering_glob(ours, place) for place in call.places]
            return list(dict.fromkeys(each for each in found if each is not None)) if all(found) else []
        case Family.FETCH if call.domain is not None:
            return [grant for grant in ours if _is_domain(grant.pattern or "", call.domain or "")][:1]
    return []


def _covering_glob(grants: Sequence[Grant], place: str | None) -> Grant | None:
    if place is None:
        return None
    return next((g for g in grants if fnmatchcase(place, (g.pattern or "").removeprefix("./"))), None)


def _is_domain(pattern: str, domain: str) -> bool:
    return domain.endswith(pattern[1:]) if pattern.startswith("*.") else domain == pattern
