"""`baton doctor` and `baton debug-info` as commands: their options, their exit codes."""

import argparse
import asyncio
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

from baton import logs
from baton.bridge_settings import BridgeSettings
from baton.core.errors import ConfigError
from baton.setting_kinds import Setting
from baton.settings import Settings, bridge_table, load, load_bridge, settings_table, without_credentials

AddOption = Callable[[argparse.ArgumentParser, Setting], None]
Tell = Callable[[str], None]
Read = TypeVar("Read", Settings, BridgeSettings)

EXIT_PROBLEMS: Final = 1
_IN_FILE: Final = re.compile(r"\A\.env\b|\(in \.env\)")
_OPTIONS: Final = ("data", "store", "port", "bridge_port")


def add_doctor(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", add_option: AddOption, tell: Tell
) -> None:
    """`baton doctor`."""
    doctor = commands.add_parser(
        "doctor",
        help="find out what is wrong, and the command that cures it",
        description="Look at this machine's set-up, the running server and the bridge on this machine. Exit codes: "
        "0 all well, 1 there are problems, 2 a wrong argument.",
    )
    doctor.add_argument("--json", action="store_true", dest="as_json", help="one JSON object, for machines")
    doctor.add_argument("--brief", action="store_true", help="four lines: page, server, database, bridge")
    _add_place(doctor, add_option)
    doctor.set_defaults(command=lambda chosen: _doctor(chosen, tell))


def add_debug_info(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", add_option: AddOption, tell: Tell
) -> None:
    """`baton debug-info`."""
    debug = commands.add_parser(
        "debug-info",
        help="collect what helps others to help you: no content, no tokens",
        description="Write one archive with versions, settings without secrets, health, metrics, counts, what `baton "
        "doctor` finds, and the end of the bridge's log. Nothing of what was said, no token, no environment.",
    )
    debug.add_argument("file", nargs="?", help="the archive [default: baton-debug-<time>.tar.gz in this folder]")
    _add_place(debug, add_option)
    debug.set_defaults(command=lambda chosen: _debug_info(chosen, tell))


def _add_place(parser: argparse.ArgumentParser, add_option: AddOption) -> None:
    parser.add_argument("--url", help="the server, where it is another machine's, or in a container")
    by_name = {setting.name: setting for setting in settings_table()}
    for name in _OPTIONS:
        add_option(parser, by_name[name])
    add_option(parser, next(setting for setting in bridge_table() if setting.name == "log_file"))


def _doctor(chosen: argparse.Namespace, tell: Tell) -> int:
    logs.configure("ERROR", "text")  # else what goes wrong with an agent would be told with its traceback
    settings, bridge, wrong = load_leniently(vars(chosen))
    url = _url(chosen.url)
    if chosen.brief:
        from baton.doctor.brief import brief

        is_well, text = asyncio.run(brief(settings, bridge, url))
        tell(text)
        return 0 if is_well else EXIT_PROBLEMS
    from baton.doctor.examine import examine
    from baton.doctor.telling import as_json, as_text

    report = asyncio.run(examine(settings, bridge, url=url, wrong_settings=wrong))
    tell(as_json(report) if chosen.as_json else as_text(report))
    return EXIT_PROBLEMS if report.problems else 0


def _debug_info(chosen: argparse.Namespace, tell: Tell) -> int:
    logs.configure("ERROR", "text")
    settings, bridge, wrong = load_leniently(vars(chosen))
    from baton.doctor.archive import collect

    file = Path(chosen.file) if chosen.file else None
    asyncio.run(collect(settings, bridge, tell, url=_url(chosen.url), wrong_settings=wrong, file=file))
    return 0


def _url(text: str | None) -> str | None:
    if text is not None and (not text.startswith(("http://", "https://")) or "@" in text):
        raise ConfigError(f"--url {without_credentials(text)}: accepted is an address like http://localhost:3001")
    return text


def load_leniently(chosen: Mapping[str, Any]) -> tuple[Settings, BridgeSettings, list[str]]:
    """Both kinds of settings, and what is wrong with the environment and `.env`, which then do not count.

    Raises ConfigError for a wrong option only: a wrong variable is what a doctor is there to find.
    """
    names = {setting.name for setting in settings_table()}
    options = {name: value for name, value in chosen.items() if name in names and value is not None}
    of_bridge = {name: chosen[name] for name in ("data", "log_file") if chosen.get(name) is not None}
    settings, wrong = _load_good(load, options)
    bridge, further = _load_good(load_bridge, of_bridge)
    # What both read, and only a bridge cannot use (no health page), is right for the server that it is meant for.
    shared = {name for setting in settings_table() for name in setting.variables}
    return settings, bridge, list(dict.fromkeys([*wrong, *(line for line in further if _name(line) not in shared)]))


def _load_good(read: "Callable[..., Read]", options: Mapping[str, str]) -> "tuple[Read, list[str]]":
    """What can be read, without what is wrong, in words."""
    try:
        return read(options), []
    except ConfigError as error:
        wrong = error.message.splitlines()
    names = {_name(line) for line in wrong}
    is_in_file = any(_IN_FILE.search(line) for line in wrong)
    try:
        return read(options, without=names, **({"dotenv": None} if is_in_file else {})), wrong
    except ConfigError:
        # Two that contradict each other, or an option: which then is named by itself.
        return read(options, environ={}, dotenv=None), wrong


def _name(line: str) -> str:
    """The variable that a complaint is about."""
    return re.split(r"[^A-Za-z0-9_]", line, maxsplit=1)[0]
