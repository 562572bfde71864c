"""The tokens of the first start: made once, kept for their owner alone, checked by their hashes."""

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from baton.core.commands import AccountRole
from baton.core.errors import ConfigError
from baton.core.tokens import MAX_TOKEN_LENGTH, token_digest
from baton.credentials import ensure_token, open_credentials, read_credentials, read_token, token_path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "state" / "baton"


def test_the_first_start_makes_a_token_for_the_admin_and_one_for_bridges(folder: Path) -> None:
    opened = open_credentials(folder)
    for role in (AccountRole.ADMIN, AccountRole.BRIDGE):
        token = read_token(folder, role)
        assert token is not None
        assert len(token) > 40
        assert opened.digests[role] == token_digest(token)


def test_later_starts_keep_the_tokens(folder: Path) -> None:
    first = ensure_token(folder, AccountRole.ADMIN)
    open_credentials(folder)
    assert ensure_token(folder, AccountRole.ADMIN) == first


def test_who_only_looks_makes_no_tokens(folder: Path) -> None:
    assert read_credentials(folder, {}).digests == {}
    assert not folder.exists()
    made = open_credentials(folder)
    assert read_credentials(folder, {AccountRole.ADMIN: None}) == made
    given = read_credentials(folder, {AccountRole.ADMIN: "a" * 30})
    assert given.digests == {**made.digests, AccountRole.ADMIN: token_digest("a" * 30)}


def test_folder_and_files_are_their_owners_alone_whatever_the_umask(folder: Path) -> None:
    before = os.umask(0)
    try:
        open_credentials(folder)
    finally:
        os.umask(before)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(token_path(folder, AccountRole.ADMIN).stat().st_mode) == 0o600


def test_a_file_that_others_can_read_is_refused_with_the_cure(folder: Path) -> None:
    open_credentials(folder)
    path = token_path(folder, AccountRole.BRIDGE)
    path.chmod(0o640)
    with pytest.raises(ConfigError, match=f"cure: chmod 600 '{path}'"):
        open_credentials(folder)


def test_a_folder_that_others_can_enter_is_refused_with_the_cure(folder: Path) -> None:
    open_credentials(folder)
    folder.chmod(0o755)
    with pytest.raises(ConfigError, match=f"cure: chmod 700 '{folder}'"):
        open_credentials(folder)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"BATON_DATA=.*cannot be made"):
        open_credentials(tmp_path / "file" / "below")


def test_an_empty_file_is_refused_and_not_taken_for_an_empty_token(folder: Path) -> None:
    open_credentials(folder)
    token_path(folder, AccountRole.ADMIN).write_text("\n")
    with pytest.raises(ConfigError, match="is empty"):
        open_credentials(folder)


def test_tokens_of_settings_come_before_files_and_make_none(folder: Path) -> None:
    opened = open_credentials(folder, {AccountRole.ADMIN: "a" * 30, AccountRole.BRIDGE: "b" * 30})
    assert opened.digests[AccountRole.ADMIN] == token_digest("a" * 30)
    assert not folder.exists()


def test_one_token_for_two_roles_is_refused(folder: Path) -> None:
    with pytest.raises(ConfigError, match="are the same"):
        open_credentials(folder, {AccountRole.ADMIN: "a" * 30, AccountRole.BRIDGE: "a" * 30})


def test_processes_that_start_together_agree_and_leave_nothing_beside(folder: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = set(pool.map(lambda _: ensure_token(folder, AccountRole.ADMIN), range(8)))
    assert len(made) == 1
    assert [path.name for path in folder.iterdir()] == ["admin.token"]


def test_no_token_stands_in_the_text_of_the_credentials(folder: Path) -> None:
    token = ensure_token(folder, AccountRole.ADMIN)
    assert token not in repr(open_credentials(folder))
    assert len(token) < MAX_TOKEN_LENGTH
