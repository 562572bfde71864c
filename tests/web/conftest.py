"""A running REST server for the tests that want one."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.web.rest_stage import Stage, stage


@pytest.fixture
async def rest(tmp_path: Path) -> AsyncIterator[Stage]:
    """See `rest_stage`."""
    async with stage(tmp_path / "baton.sqlite3") as running:
        yield running
