"""Where a server that calls itself compatible with MongoDB is not, as far as Baton's tests see it.

By the server's name and the test's; each with the reason. docs/mongodb.md tells people what it means for them.
"""

from collections.abc import Mapping
from typing import Final

_EXPLAIN: Final = 'db.messages.explain("executionStats").find({conversationId: ObjectId("...")})'
_JAVA: Final = {
    "test_every_command_of_the_guide_runs[db.runCommand({connectionStatus: 1})]": "known in the database admin only",
    f"test_every_command_of_the_guide_runs[{_EXPLAIN}]": "there is no explain",
}
_TORN_UPDATE: Final = (
    "an update looks for its document and then writes it, with nothing that keeps another out in between "
    "(1.24.2, internal/handler/msg_update.go)"
)

DEVIATIONS: Final[Mapping[str, Mapping[str, str]]] = {
    "mongo-java-server": _JAVA,
    "mongo-java-server-h2": _JAVA,
}
"""These fail each time: one that passes is a failure, so that its line goes."""

RACES: Final[Mapping[str, Mapping[str, str]]] = {
    "ferretdb": {
        "TestServer::test_of_two_that_bind_at_once_one_wins_and_both_learn_it": (
            f"{_TORN_UPDATE}: of two compare-and-sets at once both may win"
        ),
        "TestServer::test_of_several_at_once_the_furthest_stays": f"{_TORN_UPDATE}: a smaller `$max` may win",
    },
}
"""These fail only where two calls meet in the server: now and then."""
