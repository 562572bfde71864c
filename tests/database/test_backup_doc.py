"""docs/backup.md, tried as written: every block of commands, in its order, on a database with everything."""

import asyncio
import os
import re
import sqlite3
import sys
from pathlib import Path

from tests.support.full_store import fill, opened, sqlite_world

PAGE = Path(__file__).parents[2] / "docs" / "backup.md"


async def test_the_commands_of_the_page_work_as_written(tmp_path: Path) -> None:
    async with opened(await sqlite_world(tmp_path / "baton.sqlite3")) as store:
        conversation_id = await fill(store)
    tmp_path.chmod(0o700)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("BATON_")},
        "BATON_DATA": str(tmp_path),
        "CONVERSATION": conversation_id,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    blocks = re.findall(r"^```bash\n(.*?)^```", PAGE.read_text(encoding="utf-8"), flags=re.M | re.S)
    assert len(blocks) == 4
    for block in blocks:
        process = await asyncio.create_subprocess_exec(
            *("bash", "-euc", block),
            cwd=tmp_path,
            env=environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await process.communicate()
        assert process.returncode == 0, (block, said.decode())
    connection = sqlite3.connect(tmp_path / "baton.sqlite3")
    titles = [title for (title,) in connection.execute("SELECT json_extract(doc, '$.title') FROM conversations")]
    connection.close()
    assert len(titles) == 3, "both, and the one of the backup beside them"
    assert (tmp_path / "everything.jsonl").exists()
    assert (tmp_path / "one.jsonl").exists()
