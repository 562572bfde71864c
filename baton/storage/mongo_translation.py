"""What the driver raises, as what `core.ports.Store` promises."""

import functools
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, ParamSpec, TypeVar

from bson.errors import BSONError
from pymongo.errors import PyMongoError

from baton.core.errors import InvalidRequest, StoreUnavailable
from baton.storage.mongo_documents import Unstorable
from baton.storage.mongo_errors import explain

logger = logging.getLogger(__name__)

_Store = TypeVar("_Store")
_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")


def translated(
    method: Callable[Concatenate[_Store, _Parameters], Coroutine[Any, Any, _Result]],
) -> Callable[Concatenate[_Store, _Parameters], Coroutine[Any, Any, _Result]]:
    """Raises what the port promises instead of what the driver raises."""

    @functools.wraps(method)
    async def call(store: _Store, /, *args: _Parameters.args, **kwargs: _Parameters.kwargs) -> _Result:
        try:
            return await method(store, *args, **kwargs)
        except PyMongoError as exc:
            # The driver's own text may quote documents and addresses: the log gets its kind, the caller our words.
            logger.warning(
                "❌ The database did not do what was asked",
                extra={"action": "store_failed", "verb": method.__name__, "error": type(exc).__name__},
            )
            raise StoreUnavailable(explain(exc)) from exc
        except (Unstorable, BSONError, UnicodeEncodeError, OverflowError) as exc:
            raise InvalidRequest("A value of the request cannot be stored") from exc

    return call
