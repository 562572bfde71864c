"""What every test is held to: it leaves no task behind, and no setting of the person who runs it reaches it."""

import asyncio
import inspect
import os
from collections.abc import AsyncIterator

import pytest

# The contract's asserts say what they compared, as a test module's do; asked for before anybody imports them.
pytest.register_assert_rewrite(
    "baton.testing.store_contract",
    "baton.testing.store_machine",
    "baton.testing.store_rules_cleaning",
    "baton.testing.store_rules_commit",
    "baton.testing.store_rules_lists",
    "baton.testing.store_rules_permissions",
    "baton.testing.store_rules_read",
    "baton.testing.store_rules_search",
    "baton.testing.store_rules_tokens",
)


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables of Baton's are taken out, so that a test says all that it depends on."""
    for name in list(os.environ):
        if name.startswith("BATON_") and not name.startswith("BATON_TEST_"):
            monkeypatch.delenv(name)
    for name in ("HOST", "PORT", "PUBLIC_URL", "CLIENT_URL", "MONGODB_URI", "MONGODB_URL", "LOG_LEVEL", "LOG_FORMAT"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def no_task_left(request: pytest.FixtureRequest) -> None:
    """An asynchronous test that leaves a task running fails, and names the task."""
    function = getattr(request, "function", None)
    if function is not None and inspect.iscoroutinefunction(inspect.unwrap(function)):
        request.getfixturevalue("_tasks_end_with_their_test")


@pytest.fixture
async def _tasks_end_with_their_test() -> AsyncIterator[None]:
    yield
    # Asked for first, so torn down last, on the test's own loop. Tasks that are cancelled already get their turns.
    for _ in range(5):
        await asyncio.sleep(0)
    left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    if left:
        pytest.fail("tasks left behind: " + "; ".join(f"{task.get_name()} {task.get_coro()!r}" for task in left))
