"""The packets of Engine.IO 4 and Socket.IO 5 as Baton writes and reads them, without I/O.

Written once for both transports; read strictly, because a packet that does not parse ends its connection.
"""

import json
import struct
from typing import Any, Final, NoReturn

import orjson
from socketio import packet as socket_packet

from baton.core.text import whole_number


class BadPacket(Exception):
    """The client sent what is no packet of Engine.IO 4 or Socket.IO 5: its connection ends."""


class Frame:
    """One encoded Engine.IO packet, ready for both transports. Immutable; shared by all its receivers."""

    __slots__ = ("wire",)

    def __init__(self, packet: bytes) -> None:
        """`packet`: UTF-8 text that begins with the packet's type."""
        size = len(packet)
        # RFC 6455 section 5.2: a final text frame; a server's are not masked.
        if size < 126:
            header = struct.pack("!BB", 0x81, size)
        elif size < 1 << 16:
            header = struct.pack("!BBH", 0x81, 126, size)
        else:
            header = struct.pack("!BBQ", 0x81, 127, size)
        self.wire: Final = header + packet
        """The WebSocket frame."""

    def encode(self, b64: bool = False) -> str:
        """The packet as polling sends it; named and called as the library's packets are."""
        header_size = {126: 4, 127: 10}.get(self.wire[1], 2)
        return self.wire[header_size:].decode()


def event_frame(name: str, payload: object) -> Frame:
    """A Socket.IO event of the default namespace."""
    return Frame(b"42" + orjson.dumps([name, payload]))


def ack_frame(ack_id: int, answer: object) -> Frame:
    """The acknowledgement of an event; `orjson.Fragment`s in the answer are taken as they are."""
    return Frame(b"43%d" % ack_id + orjson.dumps([answer]))


class Codec:
    """The JSON of Socket.IO packets.

    Reading is the standard library's, because orjson refuses lone surrogates and makes floats of large integers.
    """

    @staticmethod
    def dumps(value: object, **_: Any) -> str:
        """Compact JSON."""
        return orjson.dumps(value).decode()

    @staticmethod
    def loads(text: str) -> Any:
        """The JSON value. Raises ValueError for anything that is none, NaN included."""
        return json.loads(text, parse_int=whole_number, parse_constant=_no_constant)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


class Packet(socket_packet.Packet):  # type: ignore[misc]  # the library has no types
    """A Socket.IO packet with our JSON: by a subclass, because the library's option sets it for the whole process."""

    json = Codec


def parse_packet(text: str) -> Packet:
    """The Socket.IO packet that `text` holds. Raises BadPacket."""
    if not text:
        raise BadPacket("an empty packet")
    try:
        packet = Packet(encoded_packet=text)
    except (ValueError, TypeError, IndexError, RecursionError) as error:
        raise BadPacket("no packet of Socket.IO") from error
    if packet.attachment_count and packet.packet_type not in (socket_packet.BINARY_EVENT, socket_packet.BINARY_ACK):
        raise BadPacket("attachments of a packet that can have none")
    is_event = packet.packet_type in (socket_packet.EVENT, socket_packet.BINARY_EVENT)
    if is_event and not (isinstance(packet.data, list) and packet.data and isinstance(packet.data[0], str)):
        raise BadPacket("an event without a name")
    return packet
