"""What `baton serve` says when it has started: where it is, what it runs with, and what to do next. Text only."""

from collections.abc import Iterator, Sequence

from baton import __version__
from baton.core.events import BridgePresence
from baton.settings import Settings


def welcome_text(settings: Settings, token: str | None) -> str:
    """The address with its token (None: no token is needed), the store, and two ways to try it."""
    address = f"{settings.origin}/" + (f"?token={token}" if token else "")
    auth = f"{{ auth: {{ token: '{token}' }} }}" if token else "{}"
    header = f"-H 'Authorization: Bearer {token}' " if token else ""
    lines = [
        "",
        f"Baton {__version__} is running. Open this address, it holds your token:"
        if token
        else f"Baton {__version__} is running, and everybody on this machine may use it (BATON_AUTH=off):",
        "",
        f"    {address}",
        "",
        f"Store:    {settings.store_label}",
        *_reach(settings),
        "",
        "From a shell:",
        f"    curl {header}{settings.origin}/api/chat/conversations",
        "From any Socket.IO client (npm install socket.io-client):",
        f"    const socket = io('{settings.origin}', {auth});",
        "    socket.onAny((event, payload) => console.log(event, payload));",
        "    const requestId = crypto.randomUUID();",
        "    const sent = await socket.emitWithAck('chat:send-message', { requestId, content: 'Hello' });",
        "    console.log(await socket.emitWithAck('join-conversation', sent.conversationId));",
        "Stop with Ctrl-C.",
        "",
    ]
    return "\n".join(lines)


def agents_text(settings: Settings, bridges: Sequence[BridgePresence]) -> str:
    """Which agents can be used now, and why others cannot, with the cure."""
    if settings.bridge == "none":
        return "Agents:   those of bridges that connect to /bridge (none runs in this process)"
    lines = list(_agents(bridges)) or ["none yet; the log says why"]
    return "\n".join(f"{'Agents:' if index == 0 else '':<10}{line}" for index, line in enumerate(lines))


def _reach(settings: Settings) -> Iterator[str]:
    if settings.is_loopback:
        return
    yield f"Listens:  {settings.host}, port {settings.port}"
    if settings.public_url is None:
        yield "Warning:  requests for a name other than localhost are refused; set PUBLIC_URL to the address people use"


def _agents(bridges: Sequence[BridgePresence]) -> Iterator[str]:
    for bridge in bridges:
        for agent in bridge.agents:
            yield f"{agent.id} ({agent.title})" if agent.available else f"{agent.id}: not here. {agent.reason or ''}"
