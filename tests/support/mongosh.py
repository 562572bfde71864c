"""What people type into mongosh, run on a database through motor: Node.js reads the JavaScript, motor asks."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bson import json_util

HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Query:
    """One expression, and what it asks for: methods with their arguments, of a collection or of the database."""

    text: str
    collection: str | None
    calls: tuple[tuple[str, tuple[Any, ...]], ...]

    @property
    def is_command(self) -> bool:
        """Whether it asks the server itself; a mock has no answer."""
        return self.collection is None or self.calls[0][0] == "explain"

    async def run(self, database: Any) -> Any:
        """The answer: documents of a cursor as a list, counts as numbers."""
        verbs = dict(self.calls)
        if self.collection is None:
            name, args = self.calls[0]
            return await database.command(*(args if name == "runCommand" else (name,)))
        collection = database[self.collection]
        first, args = self.calls[0]
        if first == "explain":
            (where,) = verbs["find"]
            return await database.command("explain", {"find": self.collection, "filter": where}, verbosity=args[0])
        if first == "aggregate":
            return [document async for document in collection.aggregate(*args)]
        if first == "updateMany":
            return (await collection.update_many(*args)).modified_count
        if first == "createIndex":
            return await collection.create_index(list(args[0].items()))
        if first == "countDocuments" or "count" in verbs:
            return await collection.count_documents(args[0] if args else {})
        assert first == "find", self.text
        found = collection.find(*args)
        if "sort" in verbs:
            found = found.sort(list(verbs["sort"][0].items()))
        if "limit" in verbs:
            found = found.limit(verbs["limit"][0])
        return [document async for document in found]


def queries(texts: list[str]) -> list[Query]:
    """Each expression, understood."""
    done = subprocess.run(
        ["node", str(HERE / "mongosh.mjs")], input=json.dumps(texts), capture_output=True, text=True, check=True
    )
    asked = json_util.loads(done.stdout)
    return [
        Query(text, one["collection"], tuple((name, tuple(args)) for name, args in one["calls"]))
        for text, one in zip(texts, asked, strict=True)
    ]
