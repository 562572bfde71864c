"""Who watches what, and how an event reaches all of them at the price of one.

Each event is framed once, whatever the number of watchers, and all that one `publish` has for a socket leaves in
one write. A watcher that does not keep up leaves the room and is told to join again, so that what waits for it is
bounded. Knows no services; names and payloads come from `wire`, bytes go to `engine`.
"""

import logging
import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from baton.core.commands import Identity
from baton.core.events import BridgesChanged, ConversationSeen, Event, RoomEvent, Streamed, owner_of
from baton.core.ids import ConversationId, UserId
from baton.core.limits import Limits
from baton.web.engine import Connection
from baton.web.packets import Frame, event_frame
from baton.web.wire import RESYNC, wire_event

logger = logging.getLogger(__name__)

_Put = Callable[[Connection, list[Frame]], None]

RESYNC_AFTER_MS: Final = (250, 2000)
"""A client that fell behind comes back after a random time in here, so that many do not come at once."""


@dataclass(slots=True, eq=False)
class _Member:
    """One socket in one conversation's room. `held`: what waits for the answer to its join; None: nothing holds it."""

    sid: str
    connection: Connection
    conversation_id: ConversationId
    held: list[Frame] | None = None
    held_bytes: int = 0
    fell_behind: bool = False
    """More was held than may wait: it is told to join again once it has its answer."""


@dataclass(frozen=True, slots=True)
class _People:
    """The audience of what is one user's, outside a room: that user's sockets, and those of every admin or not."""

    user_id: UserId
    and_admins: bool


_Audience = ConversationId | _People | None
"""A conversation's room, the sockets of some people, or everybody's (None)."""


@dataclass(frozen=True, slots=True)
class _Group:
    """Neighbouring events for the same audience, framed. `deltas`: events of streams in them."""

    audience: _Audience
    frames: list[Frame]
    deltas: int


class Joining:
    """One join under way. No event of the conversation reaches the socket between here and `end`.

    `end` must be called when the answer is on its way, whatever came of the join.
    """

    __slots__ = ("_conversation_id", "_earlier", "_fanout", "_lost_earlier", "_sid", "_was_member")

    def __init__(self, fanout: "Fanout", sid: str, conversation_id: ConversationId) -> None:
        self._fanout, self._sid, self._conversation_id = fanout, sid, conversation_id
        member = fanout.hold(sid, conversation_id)
        self._was_member = member is not None
        self._earlier: list[Frame] = []
        self._lost_earlier = False

    def subscribe(self) -> None:
        """From now on the socket gets every event: to be called at the instant to which the snapshot is true."""
        member = self._fanout.enter(self._sid, self._conversation_id)
        if member is not None and member.held is not None:
            # The snapshot holds what came before; it counts again only if the join is refused after all.
            self._earlier, self._lost_earlier = member.held, member.fell_behind
            member.held, member.held_bytes, member.fell_behind = [], 0, False

    def end(self, *, joined: bool) -> None:
        """Let go what was held. A refused join changes nothing: who was in the room gets what it missed."""
        if joined:
            self._fanout.release(self._sid, self._conversation_id)
        elif self._was_member:
            self._fanout.release(self._sid, self._conversation_id, before=None if self._lost_earlier else self._earlier)
        else:
            self._fanout.leave(self._sid, self._conversation_id)


class Fanout:
    """Implements `core.ports.Publisher` over the sockets that were added.

    The bound of what may wait for one socket: `limits.backlog_max_bytes` for events of conversations, twice that
    with the events for everybody (a socket beyond it is cut), and beside it the answers that the client asked for.
    """

    def __init__(self, limits: Limits) -> None:
        self._backlog_max_bytes = limits.backlog_max_bytes
        self._sockets: dict[str, Connection] = {}
        self._of_user: dict[UserId, dict[str, Connection]] = {}
        self._of_admins: dict[str, Connection] = {}
        self._rooms: dict[ConversationId, dict[str, _Member]] = {}
        self._joined: dict[str, set[ConversationId]] = {}
        self.events_out = 0
        """Events, each as often as it had receivers."""
        self.deltas_out = 0
        """The same of the stream's events in them."""
        self.resyncs = 0
        self._random = random.Random()  # nosec B311  # noqa: S311 - a delay is no secret

    # --- sockets and rooms ---

    @property
    def socket_count(self) -> int:
        """Sockets that were let in."""
        return len(self._sockets)

    @property
    def conversation_count(self) -> int:
        """Conversations that somebody watches."""
        return len(self._rooms)

    def backlogs_bytes(self) -> list[int]:
        """What waits for each socket, as of now."""
        return [connection.backlog_bytes for connection in self._sockets.values()]

    def add(self, sid: str, connection: Connection, who: Identity) -> None:
        """A socket that gets what everybody gets, and what is told of `who`'s conversations (an admin: of all)."""
        self._sockets[sid] = connection
        self._joined[sid] = set()
        self._of_user.setdefault(who.user_id, {})[sid] = connection
        if who.is_admin:
            self._of_admins[sid] = connection

    def remove(self, sid: str, who: Identity) -> None:
        """The socket that was added for `who` is gone. Idempotent."""
        for conversation_id in self._joined.pop(sid, set()):
            self._drop(sid, conversation_id)
        self._sockets.pop(sid, None)
        self._of_admins.pop(sid, None)
        of_user = self._of_user.get(who.user_id, {})
        of_user.pop(sid, None)
        if not of_user:
            self._of_user.pop(who.user_id, None)

    def joining(self, sid: str, conversation_id: ConversationId) -> Joining:
        """Begin a join."""
        return Joining(self, sid, conversation_id)

    def hold(self, sid: str, conversation_id: ConversationId) -> _Member | None:
        """Keep events back from a member; None: it is not one."""
        member = self._rooms.get(conversation_id, {}).get(sid)
        if member is not None and member.held is None:
            member.held, member.held_bytes = [], 0
        return member

    def enter(self, sid: str, conversation_id: ConversationId) -> _Member | None:
        """Make it a held member; None: the socket has gone meanwhile."""
        connection = self._sockets.get(sid)
        if connection is None:
            return None
        room = self._rooms.setdefault(conversation_id, {})
        member = room.get(sid)
        if member is None:
            member = room[sid] = _Member(sid, connection, conversation_id, held=[])
            self._joined[sid].add(conversation_id)
        return member

    def release(self, sid: str, conversation_id: ConversationId, before: Sequence[Frame] | None = ()) -> None:
        """Send a member what was held (`before` first; None: that is lost), and hold no more."""
        member = self._rooms.get(conversation_id, {}).get(sid)
        if member is None or member.held is None:
            return
        held, member.held, member.held_bytes = [*(before or ()), *member.held], None, 0
        if member.fell_behind or before is None:
            held = [self._expel(member)]
        if held:
            member.connection.transmit(held)

    def leave(self, sid: str, conversation_id: ConversationId) -> None:
        """No more events of this conversation for this socket. Idempotent."""
        self._joined.get(sid, set()).discard(conversation_id)
        self._drop(sid, conversation_id)

    def _drop(self, sid: str, conversation_id: ConversationId) -> None:
        room = self._rooms.get(conversation_id)
        if room is None:
            return
        room.pop(sid, None)
        if not room:
            del self._rooms[conversation_id]

    # --- telling ---

    def publish(self, events: Sequence[Event]) -> None:
        """See `core.ports.Publisher`."""
        groups = [_framed(audience, some) for audience, some in self._heard(events)]
        if len(groups) == 1:
            # The usual one, a few deltas of one conversation: each socket is looked at and written to in one go,
            # since with many of them what costs is to fetch them from memory again.
            self._put(groups[0], Connection.transmit, joined=b"".join([frame.wire for frame in groups[0].frames]))
            return
        outbox: defaultdict[Connection, list[Frame]] = defaultdict(list)
        for group in groups:
            self._put(group, lambda connection, frames: outbox[connection].extend(frames))
        for connection, frames in outbox.items():
            connection.transmit(frames)

    def tell(self, sid: str, event: BridgesChanged) -> None:
        """Tell one socket alone."""
        connection = self._sockets.get(sid)
        if connection is not None:
            connection.transmit((event_frame(*wire_event(event)),))

    def _heard(self, events: Sequence[Event]) -> Iterator[tuple[_Audience, Iterator[Event]]]:
        """Neighbours for the same audience together, without those that nobody would hear."""
        for audience, some in groupby(events, _audience_of):
            if audience is None or isinstance(audience, _People):
                is_heard = bool(self._crowd(audience))
            else:
                is_heard = audience in self._rooms
            if is_heard:
                yield audience, some

    def _crowd(self, audience: _People | None) -> dict[str, Connection]:
        """Whom it is for, outside rooms."""
        if audience is None:
            return self._sockets
        own = self._of_user.get(audience.user_id, {})
        return own | self._of_admins if audience.and_admins else own

    def _put(self, group: _Group, put: _Put, joined: bytes | None = None) -> None:
        """Hand the group's frames to each receiver: as one write of `joined` where it is idle and that is given."""
        if group.audience is None or isinstance(group.audience, _People):
            crowd = self._crowd(group.audience)
            receivers = len(crowd)
            self._put_for_all(crowd, group.frames, put)
        else:
            receivers = self._put_for_room(self._rooms.get(group.audience, {}), group.frames, put, joined)
        self.events_out += len(group.frames) * receivers
        self.deltas_out += group.deltas * receivers

    def _put_for_room(
        self, room: dict[str, _Member], frames: list[Frame], put: _Put, joined: bytes | None = None
    ) -> int:
        """How many of the room they are for: all but those that have to join again."""
        receivers = len(room)
        late: list[_Member] = []
        for member in room.values():
            connection = member.connection
            if member.held is not None:
                self._put_aside(member, member.held, frames)
            elif joined is not None and connection.write_now(joined):
                pass
            elif connection.queue.size_bytes and connection.excess_bytes() > self._backlog_max_bytes:
                # Asked in two steps because nearly always the first, cheap one says no.
                late.append(member)
            else:
                put(connection, frames)
        for member in late:
            put(member.connection, [self._expel(member)])
        return receivers - len(late)

    def _put_for_all(self, connections: dict[str, Connection], frames: list[Frame], put: _Put) -> None:
        """Nobody leaves a room for these: a socket that is hopelessly behind is cut."""
        hopeless_bytes = 2 * self._backlog_max_bytes
        for connection in connections.values():
            if connection.backlog_bytes > hopeless_bytes and connection.excess_bytes() > hopeless_bytes:
                connection.cut()
            else:
                put(connection, frames)

    def _put_aside(self, member: _Member, held: list[Frame], frames: Sequence[Frame]) -> None:
        member.held_bytes += sum(len(frame.wire) for frame in frames)
        if member.held_bytes > self._backlog_max_bytes:
            member.fell_behind = True
            held.clear()
        else:
            held += frames

    def _expel(self, member: _Member) -> Frame:
        """Take it out of the room; the event that tells it."""
        self.leave(member.sid, member.conversation_id)
        self.resyncs += 1
        logger.warning(
            "📡 a browser does not keep up and must join again",
            extra={"action": "socket.resync", "sid": member.sid, "conversationId": member.conversation_id},
        )
        retry_after_ms = self._random.randint(*RESYNC_AFTER_MS)
        return event_frame(RESYNC, {"conversationId": member.conversation_id, "retryAfterMs": retry_after_ms})


def _framed(audience: _Audience, events: Iterator[Event]) -> _Group:
    frames, deltas = [], 0
    for event in events:
        frames.append(event_frame(*wire_event(event)))
        if isinstance(event, RoomEvent) and isinstance(event.payload, Streamed):
            deltas += len(event.payload.events)
    return _Group(audience, frames, deltas)


def _audience_of(event: Event) -> _Audience:
    """Who hears of it."""
    if isinstance(event, RoomEvent):
        return event.conversation_id
    if isinstance(event, ConversationSeen):
        return _People(event.user_id, and_admins=False)
    owner = owner_of(event)
    return None if owner is None else _People(owner, and_admins=True)
