"""Attachments: files that come with messages, kept in the database."""

import re
from typing import Final

from baton.core.commands import AccountRole, Identity
from baton.core.errors import Forbidden, NotFound, TooLarge
from baton.core.ids import AttachmentId, UserId, new_object_id
from baton.core.lifecycle import ACTIVE_RUN
from baton.core.limits import Limits
from baton.core.models import Attachment
from baton.core.ports import Clock, Store
from baton.core.text import clean_text
from baton.services.ownership import owns
from baton.services.spill import attachment_url

UNKNOWN_TYPE: Final = "application/octet-stream"
_MAX_FILENAME: Final = 200
_MIME_TYPE: Final = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,63}/[a-z0-9][a-z0-9!#$&^_.+-]{0,63}\Z", re.ASCII)
_NOT_IN_FILENAMES: Final = re.compile(r"[\x00-\x1f\x7f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
"""Controls, and the marks that make a name read other than it is."""


class Attachments:
    """See the module."""

    def __init__(self, *, store: Store, clock: Clock, limits: Limits) -> None:
        self._store = store
        self._clock = clock
        self._limits = limits

    async def add(self, who: Identity, *, filename: str, mime_type: str, content: bytes) -> Attachment:
        """Keep a file. Its name and media type are cleaned, not trusted. Raises TooLarge."""
        if len(content) > self._limits.attachment_max_bytes:
            raise TooLarge(
                f"An attachment can have at most {self._limits.attachment_max_bytes} bytes (attachment_max_bytes)"
            )
        attachment_id = AttachmentId(new_object_id())
        attachment = Attachment(
            id=attachment_id,
            filename=safe_filename(filename),
            mime_type=safe_mime_type(mime_type),
            size_bytes=len(content),
            url=attachment_url(attachment_id),
            user_id=who.user_id,
            created_at=self._clock.now(),
        )
        await self._store.put_attachment(attachment, content)
        return attachment

    async def get(self, who: Identity, attachment_id: AttachmentId) -> Attachment:
        """What it is. Raises NotFound, also for a file of another's; Forbidden for a bridge that has no run with it."""
        attachment = await self._store.attachment(attachment_id)
        if attachment is None or not await self._is_theirs(who, attachment):
            raise NotFound("There is no such attachment")
        await self._check_bridge(who, attachment_id)
        return attachment

    async def content(self, who: Identity, attachment_id: AttachmentId) -> bytes:
        """Its bytes, at most `attachment_max_bytes`. Raises as `get` does."""
        await self.get(who, attachment_id)
        content = await self._store.attachment_content(attachment_id)
        if content is None:
            raise NotFound("There is no such attachment")
        return content

    async def sees(self, who: Identity, attachment_id: AttachmentId) -> bool:
        """Whether it is there for them; to admins it is, and whoever reads it finds out."""
        if who.is_admin:
            return True
        attachment = await self._store.attachment(attachment_id)
        return attachment is not None and await self._is_theirs(who, attachment)

    async def _is_theirs(self, who: Identity, attachment: Attachment) -> bool:
        """Whether they have uploaded it, or it is used in a conversation of theirs. A bridge is asked otherwise."""
        if who.role is AccountRole.BRIDGE or owns(who, attachment.user_id or UserId("")):
            return True
        return await self._store.is_used_by(attachment.id, who.user_id)

    async def _check_bridge(self, who: Identity, attachment_id: AttachmentId) -> None:
        """A bridge's credential reads what active runs of that bridge were sent with, nothing else."""
        if who.role is not AccountRole.BRIDGE:
            return
        if who.bridge_id is not None:
            for run in await self._store.runs(ACTIVE_RUN):
                if run.bridge_id == who.bridge_id and any(one.id == attachment_id for one in run.request.attachments):
                    return
        raise Forbidden("No run that this bridge works on has this attachment")


def safe_filename(name: str) -> str:
    """The last part of a path, without controls; `attachment` where nothing is left."""
    last = re.split(r"[/\\]", clean_text(name))[-1]
    cleaned = _NOT_IN_FILENAMES.sub("", last).strip().strip(".")
    return cleaned[-_MAX_FILENAME:] or "attachment"


def safe_mime_type(text: str) -> str:
    """`type/subtype` without parameters; unknown where it is none."""
    essence = text.partition(";")[0].strip().lower()
    return essence if _MIME_TYPE.match(essence) else UNKNOWN_TYPE
