"""Fixtures of the browser's tests live on one event loop, because the browser that they share does."""

from functools import partial

import pytest_asyncio

browser_fixture = partial(pytest_asyncio.fixture, loop_scope="session")
"""`@browser_fixture()` for one test, `@browser_fixture(scope="session")` for all."""
