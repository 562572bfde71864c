"""Files for mentions: what is found below a working directory, and what is not (`files`, `file_index`, `ignoring`)."""

import os
import random
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from baton.bridge import file_index, ignoring
from baton.bridge.file_index import FileIndex, build_index
from baton.bridge.files import Folders
from baton.bridge.ignoring import compile_rules
from baton.core.errors import Forbidden


def make(root: Path, *paths: str, **contents: str) -> None:
    """Empty files, and `.gitignore` files by the folder that they stand in (`top` is the root)."""
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()
    for folder, text in contents.items():
        place = root if folder == "top" else root / folder
        place.mkdir(parents=True, exist_ok=True)
        (place / ".gitignore").write_text(text)


def found(root: Path, query: str = "", **params: Any) -> list[str]:
    """The paths that an answer names."""
    answer = Folders(str(root)).list({"query": query, **params})
    assert isinstance(answer, dict)
    files = answer["files"]
    assert isinstance(files, list)
    return [str(file["path"]) for file in files if isinstance(file, dict)]


# --- finding -------------------------------------------------------------------------------------------------------


def test_the_best_match_comes_first(tmp_path: Path) -> None:
    make(tmp_path, "app.py", "deep/app.py", "deep/myapp.py", "app/other.py", "deep/app.pyx", "app.py.d/x.txt")
    assert found(tmp_path, "app.py") == [
        "app.py",
        "deep/app.py",
        "app.py.d",
        "deep/app.pyx",
        "deep/myapp.py",
        "app.py.d/x.txt",
        "app/other.py",
    ]


def test_every_word_of_the_query_counts(tmp_path: Path) -> None:
    make(tmp_path, "web/user_test.py", "web/user.py", "core/user_test.py")
    assert found(tmp_path, "test web") == ["web/user_test.py"]


def test_letters_in_order_find_what_words_do_not(tmp_path: Path) -> None:
    make(tmp_path, "src/MainWindow.ts", "src/other.ts")
    assert found(tmp_path, "mnwdw") == ["src/MainWindow.ts"]
    assert found(tmp_path, "wdwmn") == []


@pytest.mark.parametrize("query", ["[", "a]b", "^", "-", "\\", ".*", "a" * 500, "\ud800", "\0"])
def test_any_text_can_be_looked_for(tmp_path: Path, query: str) -> None:
    make(tmp_path, "plain.txt", "odd[^-].txt")
    assert isinstance(found(tmp_path, query), list)


def test_folders_are_found_too_and_sizes_are_told(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "source.txt").write_text("four")
    assert Folders(str(tmp_path)).list({"query": "source"}) == {
        "files": [
            {"path": "source", "type": "directory", "size": 0},
            {"path": "source/source.txt", "type": "file", "size": 4},
        ],
        "truncated": False,
    }


def test_a_search_in_a_folder_finds_only_what_is_below_it(tmp_path: Path) -> None:
    make(tmp_path, "one/file.txt", "two/file.txt", "two/deep/file.txt", top="deep/\n")
    assert found(tmp_path, "file", path="two") == ["two/file.txt"], "the rules of the folders above hold"
    assert found(tmp_path, "two", path="two") == []


def test_a_limit_says_that_there_is_more(tmp_path: Path) -> None:
    make(tmp_path, *(f"file{number}.txt" for number in range(10)))
    folders = Folders(str(tmp_path))
    answers: list[Any] = [folders.list({"query": "file", "limit": limit}) for limit in (9, 10)]
    assert [len(answer["files"]) for answer in answers] == [9, 10]
    assert [answer["truncated"] for answer in answers] == [True, False]


def test_a_file_that_is_gone_since_it_was_indexed_is_left_out(tmp_path: Path) -> None:
    make(tmp_path, "one.txt", "one.md")
    folders = Folders(str(tmp_path))
    folders.list({"query": "one"})
    (tmp_path / "one.md").unlink()
    answer = folders.list({"query": "one"})
    assert answer == {"files": [{"path": "one.txt", "type": "file", "size": 0}], "truncated": False}


def test_an_index_is_made_once_and_anew_after_some_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    def counting(root: str, below: str) -> FileIndex:
        made.append(below)
        return build_index(root, below)

    monkeypatch.setattr(file_index, "build_index", counting)
    folders = Folders(str(tmp_path))
    for _ in range(3):
        folders.list({"query": "x"})
    assert len(made) == 1
    monkeypatch.setattr(file_index, "KEPT_S", -1.0)
    folders.list({"query": "x"})
    assert len(made) == 2


def test_a_huge_folder_is_indexed_as_far_as_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, *(f"folder{number // 10}/file{number}.txt" for number in range(100)))
    monkeypatch.setattr(file_index, "MAX_ENTRIES", 50)
    answer = Folders(str(tmp_path)).list({"query": "f", "limit": 2000})
    assert isinstance(answer, dict)
    assert (len(answer["files"]), answer["truncated"]) == (50, True)  # type: ignore[arg-type]


def test_a_slow_folder_is_indexed_as_far_as_time_allows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, "one/two.txt")
    monkeypatch.setattr(file_index, "MAX_BUILD_S", -1.0)
    assert Folders(str(tmp_path)).list({"query": "two"}) == {"files": [], "truncated": True}


# --- staying inside ------------------------------------------------------------------------------------------------


def test_links_are_shown_where_they_lead_inside_and_are_never_followed(tmp_path: Path) -> None:
    root = tmp_path / "root"
    make(root, "inside/file.txt")
    make(tmp_path, "outside/secret.txt")
    (root / "to-file").symlink_to(root / "inside" / "file.txt")
    (root / "to-folder").symlink_to(root / "inside")
    (root / "out").symlink_to(tmp_path / "outside")
    (root / "out-file").symlink_to(tmp_path / "outside" / "secret.txt")
    (root / "loop").symlink_to(root)
    (root / "gone").symlink_to(root / "nothing")

    everything = {"inside", "inside/file.txt", "to-file", "to-folder", "loop"}

    assert set(build_index(str(root), "").paths) == {"inside/", "inside/file.txt", "to-file", "to-folder/", "loop/"}
    assert set(found(root, "i")) <= everything
    assert set(found(root)) == everything - {"inside/file.txt"}
    assert found(root, "secret") == []
    for path in ("out", "../outside", str(tmp_path / "outside")):
        with pytest.raises(Forbidden):
            Folders(str(root)).list({"query": "secret", "path": path})


def test_what_is_neither_file_nor_folder_is_not_shown(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    make(tmp_path, "plain.txt")
    assert found(tmp_path) == ["plain.txt"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_folder_that_cannot_be_read_is_passed_over(tmp_path: Path) -> None:
    make(tmp_path, "closed/file.txt", "open/file.txt")
    (tmp_path / "closed").chmod(0)
    assert found(tmp_path, "file") == ["open/file.txt"]
    (tmp_path / "closed").chmod(0o700)


# --- ignoring ------------------------------------------------------------------------------------------------------


def test_what_git_ignores_is_neither_found_nor_listed(tmp_path: Path) -> None:
    make(tmp_path, "node_modules/x/file.js", "file.js", "file.log", ".git/file.js", top="node_modules/\n*.log\n")
    assert found(tmp_path, "file") == ["file.js"]
    assert found(tmp_path) == [".gitignore", "file.js"]


def test_rules_of_a_deeper_folder_go_before_those_above(tmp_path: Path) -> None:
    make(tmp_path, "a.log", "sub/a.log", "sub/b.txt", "sub/deep/b.txt", top="*.log\n", sub="!a.log\n/b.txt\n")
    assert found(tmp_path, "a.log") == ["sub/a.log"]
    assert found(tmp_path, "b.txt") == ["sub/deep/b.txt"]
    assert found(tmp_path, path="sub") == ["sub/deep", "sub/.gitignore", "sub/a.log"]


def test_a_folder_that_is_ignored_hides_what_a_rule_inside_would_show(tmp_path: Path) -> None:
    make(tmp_path, "out/kept.txt", top="out/\n!out/kept.txt\n", out="!kept.txt\n")
    assert found(tmp_path, "kept") == []


def test_gits_private_rules_hold_too(tmp_path: Path) -> None:
    make(tmp_path, "mine.txt", ".git/info/exclude")
    (tmp_path / ".git" / "info" / "exclude").write_text("mine.txt\n")
    assert found(tmp_path, "mine") == []


def test_rules_may_be_written_as_windows_does(tmp_path: Path) -> None:
    make(tmp_path, "a.log", "b.log")
    (tmp_path / ".gitignore").write_bytes(b"\xef\xbb\xbfa.log\r\nb.log\r\n")
    assert found(tmp_path, "log") == []


@pytest.mark.parametrize("kind", ["pipe", "link", "folder", "large", "binary"])
def test_a_strange_ignore_file_holds_nothing_up(tmp_path: Path, kind: str) -> None:
    root = tmp_path / "root"
    make(root, "file.txt")
    ignore = root / ".gitignore"
    if kind == "pipe":
        os.mkfifo(ignore)
    elif kind == "link":
        (tmp_path / "rules").write_text("*\n")
        ignore.symlink_to(tmp_path / "rules")
    elif kind == "folder":
        ignore.mkdir()
    elif kind == "large":
        ignore.write_text("x" * (ignoring.MAX_BYTES + 5) + "\nfile.txt\n")
    else:
        ignore.write_bytes(b"\xff\xfe\0\n[z-a]\n!\n\\\n")
    assert found(root, "file") == ["file.txt"]


def test_a_pattern_that_would_take_for_ever_is_left_out() -> None:
    assert compile_rules(["a*" * 30 + "b"], 0) is None
    assert compile_rules(["# only", "", "a comment".replace("a ", "# ")], 0) is None


PATTERNS = [
    "*.log", "!keep.log", "build/", "/top.txt", "docs/*.html", "**/cache", "a/**/z.txt", "tmp*", "!tmp_keep/", "*",
    "!*/", "!*.py", "data?.csv", "[ab].txt", "\\#odd", "\\!odd", "sub/", "!sub/", "/sub/deep", "deep/**", "**",
    "space ",
]  # fmt: skip
NAMES = ["x.log", "keep.log", "build", "top.txt", "docs", "p.html", "cache", "a", "z.txt", "tmp1", "tmp_keep", "m.py"]
NAMES += ["data1.csv", "a.txt", "c.txt", "#odd", "!odd", "sub", "deep", "space"]


@pytest.fixture
def git(tmp_path: Path) -> dict[str, str]:
    """An environment in which git knows nothing but what lies in the folder."""
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": "/dev/null",
    }


@pytest.mark.parametrize("seed", range(20))
def test_git_itself_agrees(tmp_path: Path, git: dict[str, str], seed: int) -> None:
    rng = random.Random(seed)
    root = tmp_path / "root"
    root.mkdir()
    for _ in range(150):
        path = root.joinpath(*rng.choices(NAMES, k=rng.randint(1, 4)))
        if not any(parent.is_file() for parent in path.parents) and not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    folders = [root, *(path for path in sorted(root.rglob("*")) if path.is_dir())]
    for folder in (root, *rng.choices(folders, k=4)):
        (folder / ".gitignore").write_text("\n".join(rng.choices(PATTERNS, k=rng.randint(1, 5))) + "\n")

    def run(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=root, env=git, capture_output=True, check=True, text=True).stdout

    run("init", "-q")
    theirs = set(run("ls-files", "-co", "--exclude-standard", "-z").split("\0")) - {""}
    ours = {path for path in build_index(str(root.resolve()), "").paths if not path.endswith("/")}

    assert ours == theirs
