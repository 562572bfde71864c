"""Where settings come from, what is accepted, and how refusals read."""

import ast
import dataclasses
import importlib.metadata
from pathlib import Path

import pytest

import baton
from baton.core.errors import ConfigError
from baton.core.limits import Limits
from baton.settings import LIMIT_HELP, Settings, limits_table, load, settings_table


def refusal(options: dict[str, str] | None = None, dotenv: Path | None = None, **environ: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(options or {}, environ=environ, dotenv=dotenv)
    return caught.value.message


def read(**environ: str) -> Settings:
    return load(environ=environ, dotenv=None)


def test_without_anything_the_server_is_local_and_asks_for_a_token() -> None:
    settings = read()
    assert (settings.host, settings.port, settings.auth) == ("127.0.0.1", 3001, True)
    assert settings.client_url == "http://localhost:5173"
    assert settings.transports == ("websocket", "polling")
    assert settings.limits == Limits()
    assert settings.sqlite_path == settings.data / "baton.sqlite3"


def test_an_option_wins_over_the_environment_which_wins_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("PORT=1\nLOG_LEVEL=DEBUG\nLOG_FORMAT=json\n# a comment\nexport CLIENT_URL='http://a.example'\n")
    settings = load({"port": "3"}, environ={"PORT": "2", "LOG_LEVEL": "error"}, dotenv=file)
    assert (settings.port, settings.log_level, settings.log_format) == (3, "ERROR", "json")
    assert settings.client_url == "http://a.example"


def test_an_empty_variable_counts_as_not_set() -> None:
    assert read(PORT="", MONGODB_URI=" ").port == 3001


def test_lower_case_names_in_the_environment_mean_nothing() -> None:
    assert read(port="99", store="mongodb://h/x").port == 3001


def test_a_wrong_value_is_named_with_its_place_and_what_is_accepted(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("LOG_FORMAT=xml\n")
    text = refusal({"port": "x"}, file, HOST="127.0.0.1", LOG_LEVEL="LOUD")
    assert "--port=x: accepted is a whole number from 0 to 65535" in text
    assert "LOG_LEVEL=LOUD: accepted is DEBUG, INFO, WARNING or ERROR" in text
    assert f"LOG_FORMAT (in {file})=xml: accepted is text or json" in text


def test_all_problems_are_told_at_once() -> None:
    text = refusal(PORT="70000", BATON_TRANSPORTS="carrier-pigeon", BATON_STROE="x", BATON_HEARTBEAT_S="0")
    assert len(text.splitlines()) == 4


def test_an_unknown_variable_stops_the_start_and_the_likely_one_is_named() -> None:
    assert refusal(BATON_STROE="x") == "BATON_STROE: there is no such setting; did you mean BATON_STORE?"


def test_variables_of_tests_and_of_agents_are_not_unknown() -> None:
    assert read(BATON_TEST_ANYTHING="1", BATON_CLAUDE_MODEL="opus").agent_settings["claude"] == {"model": "opus"}


def test_a_setting_that_our_agent_does_not_have_is_unknown() -> None:
    assert refusal(BATON_CLAUDE_MODLE="opus").endswith("did you mean BATON_CLAUDE_MODEL?")


def test_an_agent_of_somebody_elses_may_have_any_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    installed = [importlib.metadata.EntryPoint("my-agent", "mine:Agent", "baton.agents")]
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: installed)
    assert read(BATON_MY_AGENT_COLOUR="red").agent_settings["my-agent"] == {"colour": "red"}


def test_a_line_of_the_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("PORT=1\nthis is = no 'setting\n")
    assert f"{file}, line 2: accepted is NAME=value" in refusal(dotenv=file)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("PORT", "-1"),
        ("PORT", "3001.5"),
        ("PUBLIC_URL", "baton.example.org"),
        ("PUBLIC_URL", "https://u:p@baton.example.org"),
        ("PUBLIC_URL", "https://baton.example.org/path"),
        ("PUBLIC_URL", "https://baton.example.org:99999"),
        ("CLIENT_URL", "javascript:alert(1)"),
        ("BATON_STORE", "postgres://h/x"),
        ("BATON_STORE", "sqlite:///"),
        ("BATON_AUTH", "maybe"),
        ("BATON_BRIDGE", "remote"),
        ("BATON_AGENTS", "claude,,demo"),
        ("BATON_WORKSPACE", "/no/such/folder"),
        ("BATON_TRANSPORTS", "websocket,"),
        ("BATON_ADMIN_TOKEN", "short"),
        ("BATON_ADMIN_TOKEN", "x" * 20 + " y"),
        ("BATON_PAYLOAD_MAX_BYTES", "0"),
        ("BATON_PAYLOAD_MAX_BYTES", "1e6"),
        ("BATON_SHUTDOWN_S", "nan"),
        ("BATON_SHUTDOWN_S", "inf"),
        ("BATON_SHUTDOWN_S", "-1"),
    ],
)
def test_values_that_are_refused(variable: str, value: str) -> None:
    with pytest.raises(ConfigError, match=rf"^{variable}="):
        read(**{variable: value})


def test_every_limit_can_be_set_by_its_name() -> None:
    of_a_kind = {"prompt_timeouts_s": ("CRITICAL=7", {"CRITICAL": 7}), "prompt_stages_s": ("7,8", (7, 8))}
    for limit in limits_table():
        text, value = of_a_kind.get(limit.name, ("7", 7))
        settings = read(**{limit.variable: text})
        assert settings.limits == dataclasses.replace(Limits(), **{limit.name: value})


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("BATON_PROMPT_TIMEOUTS_S", "critical"),
        ("BATON_PROMPT_TIMEOUTS_S", "WILD=3"),
        ("BATON_PROMPT_TIMEOUTS_S", "HIGH=-1"),
        ("BATON_PROMPT_TIMEOUTS_S", "HIGH=1,,LOW=2"),
        ("BATON_PROMPT_STAGES_S", "60,30"),
        ("BATON_PROMPT_STAGES_S", "0,30"),
        ("BATON_PROMPT_STAGES_S", "soon"),
    ],
)
def test_deadlines_of_prompts_that_make_no_sense_are_refused_by_name(name: str, text: str) -> None:
    with pytest.raises(ConfigError, match=name):
        read(**{name: text})


def test_risks_and_types_of_prompts_are_named_in_any_case() -> None:
    limits = read(BATON_PROMPT_TIMEOUTS_S="critical=60, Plan_Review=0").limits
    assert limits.prompt_timeouts_s == {"CRITICAL": 60, "plan_review": 0}
    assert limits.prompt_timeout_of("CRITICAL", "tool_permission") == 60
    assert limits.prompt_timeout_of("LOW", "plan_review") is None
    assert limits.prompt_timeout_of("HIGH", "tool_permission") == 1800


def test_every_setting_and_every_limit_is_explained() -> None:
    assert set(LIMIT_HELP) == {item.name for item in dataclasses.fields(Limits)}
    for setting in (*settings_table(), *limits_table()):
        assert setting.help.endswith("."), setting.variable
        assert setting.kind.accepts, setting.variable


def test_mongodb_is_chosen_by_any_of_its_names_the_first_that_is_set() -> None:
    assert read(MONGODB_URL="mongodb://h/b").store_url == "mongodb://h/b"
    assert read(MONGODB_URI="mongodb+srv://h/a", MONGODB_URL="mongodb://h/b").store_url == "mongodb+srv://h/a"
    assert read(BATON_STORE="sqlite:////x/y", MONGODB_URI="mongodb://h/a").sqlite_path == Path("/x/y")


def test_a_relative_database_file_is_below_the_current_folder() -> None:
    assert read(BATON_STORE="sqlite:///x.db").sqlite_path == Path.cwd() / "x.db"


def test_no_secret_stands_in_texts_about_settings() -> None:
    settings = read(
        BATON_STORE="mongodb://me:pa@ss/word@h/x?authSource=admin",
        BATON_ADMIN_TOKEN="a" * 30,
        BATON_BRIDGE_TOKEN="b" * 30,
    )
    for secret in ("pa@ss", "a" * 30, "b" * 30):
        assert secret not in repr(settings)
        assert secret not in settings.store_label
    assert "hunter2" not in refusal(BATON_STORE="postgres://me:hunter2@h/x", BATON_ADMIN_TOKEN="hunter2")


def test_agents_get_the_environment_without_anything_of_batons() -> None:
    environ = {"PATH": "/bin", "BATON_ADMIN_TOKEN": "t" * 20, "MONGODB_URI": "mongodb://h/x", "PORT": "1", "HOME": "/h"}
    assert read(**environ).agent_environment == {"PATH": "/bin", "HOME": "/h"}


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "baton.example.org"])
def test_a_server_that_others_reach_is_never_without_tokens(host: str) -> None:
    assert "BATON_AUTH=off with HOST=" in refusal(BATON_AUTH="off", HOST=host)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_on_loopback_tokens_can_be_turned_off(host: str) -> None:
    assert not read(BATON_AUTH="off", HOST=host).auth


def test_a_database_file_is_refused_where_the_disk_does_not_last() -> None:
    assert "is lost with the dyno" in refusal(DYNO="web.1")
    assert read(DYNO="web.1", MONGODB_URI="mongodb://h/x").sqlite_path is None


def test_a_variable_is_found_again_without_its_prefix() -> None:
    assert refusal(BATON_PROT="1") == "BATON_PROT: there is no such setting; did you mean PORT?"
    assert refusal(BATON_XYZZY="1") == "BATON_XYZZY: there is no such setting; docs/settings.md lists all"


def test_nothing_else_reads_the_environment() -> None:
    package = Path(baton.__file__).parent
    readers = [path.relative_to(package).as_posix() for path in package.rglob("*.py") if reads_environment(path)]
    # Claude's SDK hands the process's whole environment on: the names, and only they, are read to take them out.
    assert sorted(readers) == ["agents/claude_environment.py", "settings.py"]


def reads_environment(path: Path) -> bool:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return any(
        ast.unparse(node) in ("os.environ", "os.getenv") for node in ast.walk(tree) if type(node) is ast.Attribute
    )
