"""`baton token create | list | revoke`: on a database that nobody serves, and through the server that has it."""

import re
from collections.abc import Callable
from pathlib import Path

import aiohttp
import pytest

from tests.support.in_process import running_server
from tests.support.shell import Said, Shell, beside

TOKEN = re.compile(r"baton_[\w-]{43}\n")
OBJECT_ID = re.compile(r"[0-9a-f]{24}")


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """A data folder of which no server knows."""
    return Shell(tmp_path, {})


def rows(table: Said) -> list[list[str]]:
    """The lines of a list, without its head."""
    assert table.code == 0, table.err
    return [re.split(r"  +", line) for line in table.out.splitlines()[1:]]


async def status(url: str, token: str) -> int:
    """What a server says to this token."""
    async with (
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as session,
        session.get(f"{url}/api/me") as response,
    ):
        return response.status


# --- nobody serves the database --------------------------------------------------------------------------------


async def test_a_token_made_before_the_first_start_counts_from_it_on(shell: Shell) -> None:
    made = await shell.token("create", "--role", "user", "--name", "anna", "--expires", "30")
    assert made.code == 0, made.err
    assert TOKEN.fullmatch(made.out), "the token alone, for scripts"
    assert "'anna'" in made.err
    assert made.out.strip() not in made.err
    async with running_server(shell.folder) as running:
        assert await status(running.url, made.out.strip()) == 200


async def test_a_token_revoked_while_no_server_runs_opens_nothing(shell: Shell) -> None:
    made = await shell.token("create", "--role", "user", "--name", "anna")
    revoked = await shell.token("revoke", "anna")
    assert (revoked.code, revoked.out) == (0, "")
    async with running_server(shell.folder) as running:
        assert await status(running.url, made.out.strip()) == 401


async def test_tokens_are_listed_with_their_state_and_never_their_text(shell: Shell) -> None:
    texts = [(await shell.token("create", "--role", "bridge", "--name", name)).out for name in ("one", "two words")]
    await shell.token("revoke", "one")
    listed = await shell.token("list")
    assert [row[1:5] for row in rows(listed)] == [
        ["bridge", "live", "two words", "-"],
        ["bridge", "revoked", "one", "-"],
    ]
    assert OBJECT_ID.fullmatch(rows(listed)[0][0])
    assert all(text.strip() not in listed.out for text in texts)


async def test_a_token_is_revoked_by_its_id_and_twice_is_like_once(shell: Shell) -> None:
    await shell.token("create", "--role", "bridge", "--name", "one")
    token_id = rows(await shell.token("list"))[0][0]
    assert (await shell.token("revoke", token_id)).code == 0
    assert (await shell.token("revoke", token_id)).code == 0
    gone = await shell.token("revoke", "one")
    assert (gone.code, gone.out) == (1, "")
    assert "baton token list" in gone.err


@pytest.mark.parametrize(
    ("arguments", "accepted"),
    [
        (["--role", "bridge", "--name", "x", "--expires", "0"], "--expires: accepted is"),
        (["--role", "bridge", "--name", "x", "--expires", "soon"], "--expires: accepted is"),
        (["--role", "bridge", "--name", "x", "--expires", "3651"], "--expires: accepted is"),
        (["--role", "bridge", "--name", " "], "--name: accepted are"),
        (["--role", "root", "--name", "x"], "invalid choice"),
        (["--role", "bridge"], "--name"),
        (["--name", "x"], "--role"),
    ],
    ids=str,
)
async def test_wrong_arguments_say_what_is_accepted_and_make_nothing(
    shell: Shell, arguments: list[str], accepted: str
) -> None:
    said = await shell.token("create", *arguments)
    assert (said.code, said.out) == (2, "")
    assert accepted in said.err
    assert not (shell.folder / "data").exists()


async def test_where_there_is_nothing_yet_looking_makes_nothing(shell: Shell) -> None:
    for arguments in (["list"], ["revoke", "anna"]):
        said = await shell.token(*arguments)
        assert (said.code, said.out) == (2, "")
        assert "the first `baton serve` makes it" in said.err
    assert not (shell.folder / "data").exists()


async def test_a_name_that_is_taken_is_refused(shell: Shell) -> None:
    await shell.token("create", "--role", "user", "--name", "anna")
    said = await shell.token("create", "--role", "bridge", "--name", "Anna")
    assert (said.code, said.out) == (1, "")
    assert "(conflict)" in said.err


# --- a server has it -------------------------------------------------------------------------------------------


async def test_what_is_done_counts_at_once_in_the_server_that_runs(tmp_path: Path) -> None:
    async with running_server(tmp_path) as running:
        shell = beside(running, tmp_path)
        made = await shell.token("create", "--role", "user", "--name", "anna")
        assert made.code == 0, made.err
        assert TOKEN.fullmatch(made.out)
        assert await status(running.url, made.out.strip()) == 200
        assert sorted(row[3] for row in rows(await shell.token("list"))) == ["admin", "anna", "bridge"]
        assert (await shell.token("revoke", "anna")).code == 0
        assert await status(running.url, made.out.strip()) == 401


async def test_what_the_server_refuses_is_told(tmp_path: Path) -> None:
    async with running_server(tmp_path) as running:
        said = await beside(running, tmp_path).token("revoke", "admin")
        assert (said.code, said.out) == (1, "")
        assert "last token of an admin" in said.err
        assert await status(running.url, running.token) == 200


async def test_a_server_elsewhere_is_asked_by_its_address(tmp_path: Path, shell: Shell) -> None:
    async with running_server(tmp_path / "elsewhere") as running:
        shell = Shell(tmp_path, {"BATON_ADMIN_TOKEN": running.token})
        made = await shell.token("create", "--role", "bridge", "--name", "desktop", "--url", running.url)
        assert made.code == 0, made.err
        assert await status(running.url, made.out.strip()) == 200
    assert not (tmp_path / "data").exists()


async def test_without_the_admins_token_a_server_makes_none(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    async with running_server(tmp_path / "elsewhere") as running:
        said = await Shell(tmp_path / "mine", {}).token("list", "--url", running.url)
        assert (said.code, said.out) == (1, "")
        assert "(unauthenticated)" in said.err


async def test_a_server_that_does_not_answer_is_named(shell: Shell, unused_tcp_port_factory: Callable[[], int]) -> None:
    url = f"http://127.0.0.1:{unused_tcp_port_factory()}"
    said = await shell.token("create", "--role", "user", "--name", "x", "--url", url)
    assert (said.code, said.out) == (1, "")
    assert url in said.err
