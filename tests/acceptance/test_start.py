"""What a start loads: what few requests need is loaded with the first of them."""

from pathlib import Path

from tests.support.server_process import server_process

_LATER = ("apispec", "baton.services.shell", "baton.storage.mongo", "motor", "claude_agent_sdk")


def _is_in(log: Path, module: str) -> bool:
    return any(line.rpartition("|")[2].strip() == module for line in log.read_text().splitlines())


async def test_a_start_loads_nothing_that_can_wait(tmp_path: Path) -> None:
    async with server_process(tmp_path, PYTHONPROFILEIMPORTTIME="1") as server:
        log = tmp_path / "server.log"
        assert _is_in(log, "baton.app"), "Python says what it loads"
        assert [module for module in _LATER if _is_in(log, module)] == []
        assert await server.status("/api/openapi.json") == 200
        assert _is_in(log, "apispec")
