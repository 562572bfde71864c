"""Turns what is right into what is wrong: the same seed makes the same mutants.

Two kinds. A mutated *value* is sound JSON that says something else; a mutated *text* is perhaps no JSON any more. The
first gets as far as the schemas and the services, the second as far as the parsers.
"""

import random
from collections.abc import Iterator
from typing import Any

_LONG = "9" * 30
WILD: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 1.5, -0.0, 1e308, 2**31, 2**53, 2**63, 2**64, -(2**70), 10**400),
    *("", " ", "x", "\0", "\ud800", "\udfff\ud800", "🌉" * 60, "x" * 101, "x" * 201, "x" * 5000, _LONG, "NaN", "null"),
    *("0" * 24, "0" * 25, "g" * 24, "../../etc/passwd", "__proto__", "constructor", "$where", "a.b", "\u202e", "\r\n"),
    *([], {}, [[]], [None], [{}], {"$ne": None}, {"$gt": ""}, {"__proto__": {}}, {"": ""}, {"a\0b": 1}, {"type": []}),
    *(["x"] * 300, [0] * 300, {str(number): number for number in range(60)}),
)
"""What nobody expects where it stands."""

_TOKENS = (
    *('"', "{", "}", "[", "]", ",", ":", "\\", "\\u", "\\ud800", "\\u0000", "\0", "\x1e", "\n", " ", "/", "-", "."),
    *("NaN", "Infinity", "-Infinity", "1e999", "1e-999", _LONG, "null", "true", "undefined", "0x10", "01", "\ufeff"),
    *(
        "🌉",
        "\u2028",
        "[" * 200,
        "{" * 200,
        '{"a":' * 100,
        "[" * 3000,
        '"type":"hello",',
        '"seq":1,',
        '"requestId":"r",',
    ),
)


class Mutator:
    """A source of mutants."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def value(self, sound: Any) -> Any:
        """A copy of `sound` that is wrong in one to three places."""
        holder = [_copy(sound)]
        for _ in range(self.random.choice((1, 1, 1, 2, 3))):
            self._spoil(holder)
        return holder[0]

    def text(self, sound: str) -> str:
        """`sound` with one to three pieces of it gone, doubled, or replaced."""
        for _ in range(self.random.choice((1, 1, 2, 3))):
            sound = self._tear(sound)
        return sound

    def bytes(self, sound: bytes) -> bytes:
        """`sound` with some bytes changed: perhaps no UTF-8 any more."""
        torn = bytearray(sound)
        for _ in range(self.random.randint(1, 4)):
            if torn:
                torn[self.random.randrange(len(torn))] = self.random.randrange(256)
        return bytes(torn)

    def _spoil(self, holder: list[Any]) -> None:
        places = list(_places(holder))
        container, key = self.random.choice(places)
        match self.random.randrange(8):
            case 0 | 1 | 2 | 3:
                container[key] = _copy(self.random.choice(WILD))
            case 4 if container is not holder:
                del container[key]
            case 5 if isinstance(container, dict):
                container[self.random.choice((f"{key}s", str(key).upper(), f" {key}", ""))] = container.pop(key)
            case 6:
                inside = container[key]
                if isinstance(inside, dict):
                    inside[self.random.choice(("surprise", "$set", "__proto__", "type", "id"))] = _copy(
                        self.random.choice(WILD)
                    )
                elif isinstance(inside, list):
                    inside.extend(_copy(inside) or [None])
                else:
                    container[key] = [inside]
            case _:
                other, at = self.random.choice(places)
                container[key] = _copy(other[at])

    def _tear(self, text: str) -> str:
        start = self.random.randrange(len(text) + 1)
        end = min(len(text), start + self.random.choice((1, 1, 2, 5, 20)))
        match self.random.randrange(6):
            case 0:
                return text[:start]
            case 1:
                return text[:start] + text[end:]
            case 2:
                return text[:end] + text[start:]
            case 3:
                return text[:start] + chr(self.random.randrange(1, 0x2FF)) + text[start + 1 :]
            case _:
                return text[:start] + self.random.choice(_TOKENS) + text[end if self.random.random() < 0.5 else start :]


def _copy(value: Any) -> Any:
    """Deep; a third of the time that `copy.deepcopy` takes."""
    if isinstance(value, dict):
        return {key: _copy(inner) for key, inner in value.items()}
    return [_copy(inner) for inner in value] if isinstance(value, list) else value


def _places(container: Any) -> Iterator[tuple[Any, Any]]:
    """Each place in it that holds something, as container and key."""
    for key, inner in list(container.items() if isinstance(container, dict) else enumerate(container)):
        yield container, key
        if isinstance(inner, (dict, list)):
            yield from _places(inner)
