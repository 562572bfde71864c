"""What Claude Code's process is started with, and whether a login is found."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from baton.agents.claude_environment import (
    LAUNCHER,
    child_environment,
    find_program,
    is_logged_in,
    launch_environment,
    without_secrets,
)


def test_batons_own_and_an_outer_claude_code_are_left_out() -> None:
    child = child_environment(
        {
            "PATH": "/bin",
            "BATON_TOKEN": "x",
            "MONGODB_URI": "x",
            "CLAUDECODE": "1",
            "CLAUDE_CODE_SESSION_ID": "x",
            "CLAUDE_AGENT_SDK_VERSION": "x",
            "CLAUDE_CODE_OAUTH_TOKEN": "kept",
            "CLAUDE_CODE_USE_BEDROCK": "1",
        }
    )

    assert child == {
        "PATH": "/bin",
        "CLAUDE_CODE_OAUTH_TOKEN": "kept",
        "CLAUDE_CODE_USE_BEDROCK": "1",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    }


def test_the_launcher_starts_the_program_with_its_arguments_and_drops_what_is_named(tmp_path: Path) -> None:
    inherited = {"SECRET": "hush", "odd name": "hush", "a.b": "hush", "PATH": os.environ["PATH"]}
    program = tmp_path / "a program"
    program.write_text('#!/bin/sh\nprintf "%s|" "$@"\n/usr/bin/env -0\n')
    program.chmod(0o755)
    child = {"PATH": os.environ["PATH"], "KEPT": "a b\n* c"}

    done = subprocess.run(
        [str(LAUNCHER), "--flag", "two words", "*"],
        env=inherited | launch_environment(child, str(program), inherited),
        capture_output=True,
        text=True,
        check=True,
    )

    arguments, _, rest = done.stdout.partition("|*|")
    found = dict(entry.split("=", 1) for entry in rest.split("\0") if entry)
    assert arguments == "--flag|two words"
    assert "hush" not in done.stdout
    # A shell in between adds its own PWD, and cannot name (so it drops or keeps, emptied) what is no variable.
    assert found.keys() - {"PWD", "OLDPWD", "SHLVL", "_", "odd name"} == child.keys()
    assert found["KEPT"] == child["KEPT"]


@pytest.mark.parametrize(
    "environment",
    [
        {"ANTHROPIC_API_KEY": "x"},
        {"ANTHROPIC_AUTH_TOKEN": "x"},
        {"CLAUDE_CODE_OAUTH_TOKEN": "x"},
        {"CLAUDE_CODE_USE_VERTEX": "1"},
        {"AWS_BEARER_TOKEN_BEDROCK": "x"},
    ],
)
def test_a_key_a_token_or_a_cloud_is_a_login(environment: dict[str, str]) -> None:
    assert is_logged_in(environment)


@pytest.mark.parametrize("environment", [{}, {"ANTHROPIC_API_KEY": ""}, {"CLAUDE_CODE_USE_BEDROCK": "0"}])
def test_nothing_and_empty_values_are_no_login(environment: dict[str, str]) -> None:
    assert not is_logged_in(environment)


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        (".claude/.credentials.json", "{}", True),
        (".claude.json", json.dumps({"oauthAccount": {"x": 1}}), True),
        (".claude.json", json.dumps({"numStartups": 3, "oauthAccount": None}), False),
        (".claude/settings.json", json.dumps({"apiKeyHelper": "/bin/key"}), True),
        (".claude/settings.json", json.dumps({"env": {"CLAUDE_CODE_USE_BEDROCK": "1"}}), True),
        (".claude.json", "not json", False),
        (".claude.json", "[1]", False),
    ],
)
def test_claude_codes_own_files_tell_of_a_login(tmp_path: Path, name: str, content: str, expected: bool) -> None:
    (tmp_path / ".claude").mkdir()
    (tmp_path / name).write_text(content)

    assert is_logged_in({"HOME": str(tmp_path)}) is expected


def test_a_named_config_folder_goes_before_home(tmp_path: Path) -> None:
    (tmp_path / ".claude").mkdir()
    (tmp_path / ".claude" / ".credentials.json").write_text("{}")

    assert not is_logged_in({"HOME": str(tmp_path), "CLAUDE_CONFIG_DIR": str(tmp_path / "elsewhere")})


def test_a_named_program_is_looked_up_on_the_childs_path(tmp_path: Path) -> None:
    program = tmp_path / "claude-next"
    program.write_text("")
    program.chmod(0o755)

    assert find_program({"PATH": str(tmp_path)}, "claude-next") == str(program)
    assert find_program({"PATH": str(tmp_path)}, "claude-other") is None


def test_secrets_are_taken_out_of_what_is_reported() -> None:
    environment = {"MY_API_KEY": "abcdef-123456", "EDITOR": "vim"}
    text = "vim: sent abcdef-123456 and sk-ant-api03-xyzxyzxyz with Bearer qwertz"

    assert without_secrets(text, environment) == "vim: sent [secret] and [secret] with [secret]"
