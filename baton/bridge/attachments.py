"""Files that come with messages, read from the server by a bridge, with the bridge's credential."""

import asyncio
from typing import Final
from urllib.parse import urljoin, urlsplit

import aiohttp

from baton.bridge.client import LinkOptions
from baton.core.errors import AgentFailed, BatonError, TooLarge, Unavailable
from baton.core.limits import Limits
from baton.core.models import Attachment
from baton.core.ports import Clock

WAIT_S: Final = 120.0
"""How long a server that is away is waited for."""
_RETRY_S: Final = 2.0


class AttachmentReader:
    """Reads attachments of runs. `session` is set while there is one."""

    def __init__(self, link: LinkOptions, clock: Clock, limits: Limits) -> None:
        self._link = link
        self._clock = clock
        self._limits = limits
        self.session: aiohttp.ClientSession | None = None

    async def read(self, attachment: Attachment) -> bytes:
        """The whole file. Raises AgentFailed (refused, gone), TooLarge, Unavailable (no server for `WAIT_S`)."""
        url = self._own_url(attachment)
        until = self._clock.monotonic() + WAIT_S
        while True:
            try:
                async with asyncio.timeout(self._link.timeout_s):
                    return await self._fetch(url, attachment)
            except (aiohttp.ClientError, OSError, TimeoutError, Unavailable) as error:
                if self._clock.monotonic() >= until:
                    raise Unavailable(f"The attachment {attachment.filename} cannot be read from the server") from error
            await self._clock.sleep(_RETRY_S)

    def _own_url(self, attachment: Attachment) -> str:
        """Where it is. The credential is this server's: it goes to no other address, whatever a frame says."""
        base = self._link.url.rstrip("/") + "/"
        url = urljoin(base, attachment.url)
        if urlsplit(url)[:2] != urlsplit(base)[:2]:
            raise AgentFailed(f"The attachment {attachment.filename} is not on the server")
        return url

    async def _fetch(self, url: str, attachment: Attachment) -> bytes:
        if self.session is None:
            raise Unavailable("The bridge is shutting down")
        headers = {"Authorization": f"Bearer {self._link.token}"} if self._link.token else {}
        async with self.session.get(url, headers=headers, allow_redirects=False) as response:
            if response.status >= 500:
                raise Unavailable(f"The server answered with status {response.status}")
            if response.status != 200:
                raise _refused(attachment, response.status)
            return await self._content(response, attachment)

    async def _content(self, response: aiohttp.ClientResponse, attachment: Attachment) -> bytes:
        content = bytearray()
        async for piece in response.content.iter_any():
            content += piece
            if len(content) > self._limits.attachment_max_bytes:
                raise TooLarge(f"The attachment {attachment.filename} is larger than it may be (attachment_max_bytes)")
        return bytes(content)


def _refused(attachment: Attachment, status: int) -> BatonError:
    reason = "is gone" if status == 404 else f"was refused by the server (status {status})"
    return AgentFailed(f"The attachment {attachment.filename} {reason}")
