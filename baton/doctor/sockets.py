"""A real Socket.IO handshake over each transport: what a browser does first, and where proxies break it."""

import json
from shlex import quote
from typing import Any

from baton.core.errors import Unavailable
from baton.doctor.findings import Area, Finding, Notes
from baton.doctor.patient import ASK_S, Patient, Reply

_PATH = "/socket.io/?EIO=4&transport="


async def check_sockets(patient: Patient) -> list[Finding]:
    """Both transports, up to the server's yes or no to the credential."""
    notes = Notes(Area.WEBSOCKET)
    for name, knock in (("websocket", _websocket), ("polling", _polling)):
        if name not in patient.settings.transports:
            notes.skipped(name, f"BATON_TRANSPORTS leaves {name} out")
            continue
        try:
            said = await knock(patient)
        except Unavailable as error:
            said = error.message
        if said is None:
            notes.ok(name, f"a Socket.IO client connects over {name}")
        else:
            notes.problem(
                name,
                f"a Socket.IO client cannot connect over {name}: {said}",
                why="pages show Disconnected, and nothing comes live"
                + (" (a proxy before the server must pass on Upgrade)" if name == "websocket" else ""),
                cure=f"curl -v {quote(patient.url + _PATH + 'polling')}",
            )
    return notes.findings


async def _polling(patient: Patient) -> str | None:
    """Why not; None: it works."""
    opened = await patient.ask(_PATH + "polling")
    sid = _sid(opened.text)
    if sid is None:
        return _refusal(opened)
    session = f"{_PATH}polling&sid={sid}"
    posted = await _post(patient, session, "40" + _auth(patient))
    if posted != 200:
        return f"status {posted}"
    answered = await patient.ask(session)
    await _post(patient, session, "1")  # leaves, so that the server does not wait for it until its ping times out
    return _verdict(answered.text)


async def _websocket(patient: Patient) -> str | None:
    import aiohttp

    url = patient.url + _PATH + "websocket"
    try:
        timeout = aiohttp.ClientWSTimeout(ws_receive=ASK_S, ws_close=1)
        async with patient.http.ws_connect(url, timeout=timeout) as socket:
            if _sid(await _text(socket)) is None:
                return "no handshake came"
            await socket.send_str("40" + _auth(patient))
            return _verdict(await _text(socket))
    except aiohttp.WSServerHandshakeError as error:
        return f"status {error.status}"
    except TimeoutError as error:
        raise Unavailable(f"nothing came within {ASK_S:g} s") from error
    except (aiohttp.ClientError, OSError) as error:
        raise Unavailable(type(error).__name__) from error


async def _text(socket: Any) -> str:
    import aiohttp

    message = await socket.receive()
    return str(message.data) if message.type is aiohttp.WSMsgType.TEXT else ""


async def _post(patient: Patient, path: str, body: str) -> int:
    import aiohttp

    try:
        async with patient.http.post(
            patient.url + path, data=body, timeout=aiohttp.ClientTimeout(total=ASK_S)
        ) as answer:
            return int(answer.status)
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        raise Unavailable(type(error).__name__) from error


def _auth(patient: Patient) -> str:
    return json.dumps({"token": patient.token}) if patient.token else ""


def _sid(packet: str) -> str | None:
    if not packet.startswith("0{"):
        return None
    try:
        sid = json.loads(packet[1:]).get("sid")
    except ValueError:
        return None
    return sid if isinstance(sid, str) else None


def _verdict(packet: str) -> str | None:
    """None for the server's yes. Its no is a code and a text of Baton's own."""
    if packet.startswith("40"):
        return None
    if packet.startswith("44"):
        try:
            said = json.loads(packet[2:])
        except ValueError:
            said = {}
        return f"refused ({said.get('message', 'no reason')})" if isinstance(said, dict) else "refused"
    return "no answer to the connect packet came"


def _refusal(reply: Reply) -> str:
    error = reply.said.get("error") or {}
    return f"status {reply.status}" + (f" ({error['message']})" if "message" in error else "")
