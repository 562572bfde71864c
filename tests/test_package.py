"""What is shipped: the wheel holds everything, and works in an environment that has never seen the checkout."""

import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import urllib.request
import venv
import zipfile
from pathlib import Path

import pytest

from baton import __version__
from baton.web.page import find_built_page

ROOT = Path(__file__).parent.parent
SHIPPED = ("baton", "migrations", "setup.cfg", "pyproject.toml", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy, because a build leaves its own folders beside the source."""
    source = tmp_path_factory.mktemp("source")
    for name in SHIPPED:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, source / name)
    built = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(built), str(source), cwd=source)
    (made,) = built.iterdir()
    return made


@pytest.fixture(scope="module")
def command(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`baton` in an environment of its own, whose dependencies are those of this one: no network is needed."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    run(
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(python),
        "install",
        "--quiet",
        "--no-index",
        "--no-deps",
        str(wheel),
    )
    (site,) = folder.glob("lib/python*/site-packages")
    # Files named .pth in a folder that is added like this are not read: no editable install shines through.
    (site / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    return folder / "bin" / "baton"


def run(*arguments: str, cwd: Path | None = None) -> str:
    done = subprocess.run(arguments, cwd=cwd, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}


def source_files() -> set[str]:
    files = {path for path in (ROOT / "baton").rglob("*") if path.is_file()}
    files |= {path for path in (ROOT / "migrations").rglob("*.py") if path.is_file()}
    names = {path.relative_to(ROOT).as_posix() for path in files if "__pycache__" not in path.parts}
    return {re.sub(r"^migrations/", "baton/migrations/", name) for name in names}


def test_the_wheel_holds_every_file_of_the_source(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if name.startswith("baton/")}
    assert packed == source_files()


@pytest.mark.skipif(find_built_page() is None, reason="`make ui` has built no page")
def test_the_wheel_holds_the_built_page(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        index = archive.read("baton/web/static/app/index.html").decode()
        named = re.findall(r'(?:src|href)="/static/app/([^"]+)"', index)
        packed = set(archive.namelist())
    assert named
    assert {f"baton/web/static/app/{name}" for name in named} <= packed


def test_the_wheel_is_called_by_its_name_and_carries_the_licence(wheel: Path) -> None:
    assert wheel.name == f"baton_agents-{__version__}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        assert any(name.endswith("/LICENSE") for name in archive.namelist())


def test_the_installed_command_says_its_version(command: Path, tmp_path: Path) -> None:
    assert run(str(command), "--version", cwd=tmp_path) == f"baton {__version__}\n"


def test_the_installed_command_migrates(command: Path, tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path / 'x.sqlite3'}"
    assert "ran 0001_" in run(str(command), "db", "migrate", "--store", store, cwd=tmp_path)
    assert "healthy" in run(str(command), "db", "check", "--store", store, cwd=tmp_path)


def test_the_installed_command_serves_and_stops(command: Path, tmp_path: Path) -> None:
    arguments = [str(command), "serve", "--port", "0", "--data", str(tmp_path / "data"), "--agents", "demo"]
    arguments += ["--bridge-port", "none"]
    with subprocess.Popen(
        arguments, cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            address = next(
                (found for line in process.stdout if (found := re.search(r"http://localhost:\d+", line))), None
            )
            assert address is not None, process.communicate()
            with urllib.request.urlopen(f"{address[0]}/health") as answer:
                assert answer.status == 200
            process.send_signal(signal.SIGTERM)
            _, logged = process.communicate(timeout=15)
            assert process.returncode == 0, logged
        finally:
            process.kill()
