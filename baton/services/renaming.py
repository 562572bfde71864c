"""A conversation's records as those of a new conversation, beside the one that they were taken from.

Each new id is derived from the old one, so that records can come one by one, and nothing has to be remembered.
"""

from dataclasses import dataclass, replace
from typing import Any, TypeVar

from baton.core.ids import ConversationId, MessageId, PromptId, RequestId, derived_object_id
from baton.core.models import Conversation, Message, Prompt, Run
from baton.core.permissions import Grant, GrantId, GrantScope
from baton.core.stored import JournalRow
from baton.services.archive import Incoming

Value = TypeVar("Value")


def belongs_to(incoming: Incoming, conversation_id: str, project_id: str | None) -> bool:
    """Whether it is this conversation's: it, what it holds, its project, its grants, attachments that it uses."""
    value = incoming.value
    if isinstance(value, Grant):
        return value.scope is GrantScope.CONVERSATION and value.conversation_id == conversation_id
    if conversation_id in incoming.used_by or getattr(value, "conversation_id", None) == conversation_id:
        return True
    return getattr(value, "id", None) in {conversation_id, project_id} - {None}


@dataclass(frozen=True, slots=True)
class Renaming:
    """From the conversation `old` to `new`."""

    old: ConversationId
    new: ConversationId

    def apply(self, incoming: Incoming) -> Incoming | None:
        """The record under its new ids; None: it has no place there (the audit tells what was, and was once)."""
        value = incoming.value
        if isinstance(value, Conversation):
            # Two conversations may not go on in one session of the agent.
            title = f"{value.title} (restored)".strip()
            value = replace(value, id=self.new, title=title, fork_session=value.claude_session_id is not None)
        elif isinstance(value, Message):
            value = self._message(value)
        elif isinstance(value, Run):
            value = self._run(value)
        elif isinstance(value, Prompt):
            prompt_id = PromptId(self._id(value.id))
            value = replace(value, id=prompt_id, conversation_id=self.new, request_id=self._request(value.request_id))
        elif isinstance(value, Grant):
            value = replace(value, id=GrantId(self._id(value.id)), conversation_id=self.new)
        elif isinstance(value, JournalRow):
            value = self._row(value)
        elif getattr(value, "conversation_id", None) == self.old:
            return None
        return replace(incoming, value=value)

    def _message(self, message: Message) -> Message:
        request_id = None if message.request_id is None else self._request(message.request_id)
        message_id = MessageId(self._id(message.id))
        return replace(message, id=message_id, conversation_id=self.new, request_id=request_id)

    def _run(self, run: Run) -> Run:
        request_id = self._request(run.request_id)
        answer = run.answer
        if answer is not None:
            message_id = MessageId(self._id(answer.message_id))
            answer = replace(answer, request_id=request_id, conversation_id=self.new, message_id=message_id)
        return replace(
            run,
            request_id=request_id,
            conversation_id=self.new,
            message_ids=tuple(MessageId(self._id(message_id)) for message_id in run.message_ids),
            answer=answer,
            user_message=None if run.user_message is None else self._message(run.user_message),
        )

    def _row(self, row: JournalRow) -> JournalRow:
        events = tuple(self._event(event) for event in row.events)
        return replace(row, conversation_id=self.new, request_id=self._request(row.request_id), events=events)

    def _event(self, event: Any) -> Any:
        """Those of a message name it."""
        named = getattr(event, "message_id", None)
        return event if named is None else replace(event, message_id=self._id(named))

    def _request(self, request_id: str) -> RequestId:
        return RequestId(self._id(request_id))

    def _id(self, old: str) -> str:
        return derived_object_id("restored", self.new, old)
