"""The `baton` command: reads arguments, calls what does the work, turns refusals into one clear text.

Imports happen inside the commands, so that `baton --version` and `--help` answer at once.
"""

import argparse
import asyncio
import gc
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from baton import __version__
from baton.agents.naming import parse_agent_argument
from baton.bridge_settings import BridgeSettings
from baton.cli_db import add_db
from baton.cli_settings import add_option, load_settings
from baton.core.errors import BatonError, ConfigError
from baton.doctor.commands import add_debug_info, add_doctor
from baton.settings import bridge_table, limits_table, load_bridge, settings_table

EXIT_REFUSED: Final = 2
"""A wrong setting or argument; what argparse itself uses."""
EXIT_FAILED: Final = 1

_OBJECTS_PER_COLLECTION: Final = 5_000
"""New objects between two collections of the youngest. What a flush makes is gone behind it without a collector: a
delta took 377 to 435 us of CPU with Python's 700 and 354 to 375 with this, two rounds in turn."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code. Refusals are one text on stderr, never a traceback."""
    parser = build_parser()
    chosen = parser.parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = chosen.command
    try:
        return command(chosen)
    except ConfigError as error:
        print(f"baton: {error.message}", file=sys.stderr)
        return EXIT_REFUSED
    except BatonError as error:
        print(f"baton: {error.message} ({error.code})", file=sys.stderr)
        return EXIT_FAILED
    except KeyboardInterrupt:
        return 128 + 2


def build_parser() -> argparse.ArgumentParser:
    """Every command with its options. docs/cli.md names them all (a test holds it)."""
    parser = argparse.ArgumentParser(prog="baton", description="Drive coding agents from a browser, and lose nothing.")
    parser.add_argument("--version", action="version", version=f"baton {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_serve(commands)
    _add_bridge(commands)
    add_db(commands)
    _add_token(commands)
    _add_audit(commands)
    _add_import_claude(commands)
    add_doctor(commands, add_option, _tell)
    add_debug_info(commands, add_option, _tell)
    return parser


# --- serve -----------------------------------------------------------------------------------------------------


def _add_serve(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    serve = commands.add_parser(
        "serve",
        help="start the server",
        description="Start the server. Each option can also be set in the environment, or in .env in this folder.",
        epilog=_limits_epilog(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for setting in settings_table():
        if setting.has_option:
            add_option(serve, setting)
    serve.set_defaults(command=_serve)


def _limits_epilog() -> str:
    lines = [f"  {limit.variable:<32} {limit.default:>9}  {limit.help}" for limit in limits_table()]
    secret = [f"  {item.variable:<32} {'':>9}  {item.help}" for item in settings_table() if not item.has_option]
    return "\n".join(["environment only:", *secret, *lines])


def _serve(chosen: argparse.Namespace) -> int:
    settings = load_settings(chosen)
    # What is imported stays to the end: the collector need not walk through it, neither while it comes, which makes
    # the start longer, nor later, which would hold up every stream for tens of milliseconds each time.
    gc.disable()
    from baton import logs, serving
    from baton.app import create_app

    gc.freeze()
    gc.enable()
    gc.set_threshold(_OBJECTS_PER_COLLECTION, 20, 20)
    logs.configure(settings.log_level, settings.log_format)
    asyncio.run(serving.serve(settings, create_app, _tell))
    return 0


def _tell(text: str) -> None:
    print(text, flush=True)


# --- bridge ----------------------------------------------------------------------------------------------------

_JOINED_BY: Final = {"workspace": os.pathsep, "agent": ","}
"""Options that may be repeated, and what stands between their values in the environment."""


def _add_bridge(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    bridge = commands.add_parser(
        "bridge",
        help="run agents on this machine for a server elsewhere",
        description="Run agents on this machine for a server elsewhere. Each option can also be set in the "
        "environment, or in .env in this folder.",
    )
    for setting in bridge_table():
        add_option(bridge, setting, repeats=setting.name in _JOINED_BY)
    bridge.add_argument("--debug", action="store_true", help="the same as --log-level DEBUG")
    bridge.set_defaults(command=_bridge)


def _bridge(chosen: argparse.Namespace) -> int:
    settings = _load_bridge_settings(chosen)
    from baton import logs
    from baton.bridging import run_bridge
    from baton.status_line import StatusLine, status_text

    line = StatusLine(sys.stderr)
    logs.configure(settings.log_level, settings.log_format, line, settings.log_file)
    try:
        asyncio.run(run_bridge(settings, _tell, lambda facts: line.show(status_text(facts))))
    finally:
        line.end()
    return 0


def _load_bridge_settings(chosen: argparse.Namespace) -> BridgeSettings:
    given = {setting.name: getattr(chosen, setting.name) for setting in bridge_table()}
    given |= _named_agents(given["agent"], given["acp"])
    options = {
        name: _JOINED_BY[name].join(value) if isinstance(value, list) else value
        for name, value in given.items()
        if value is not None
    }
    if chosen.debug:
        options["log_level"] = "DEBUG"
    return load_bridge(options)


def _named_agents(arguments: Sequence[str] | None, acp: str | None) -> dict[str, list[str] | str | None]:
    """The names that `--agent` gave, and the commands that it gave to some of them, beside those of `--acp`."""
    agents = [parse_agent_argument(part) for argument in arguments or () for part in _split_agents(argument)]
    commands = [f"{name}={command}" for name, command in agents if command is not None]
    return {
        "agent": [name for name, _ in agents] or None,
        "acp": ";".join([*([acp] if acp else []), *commands]) or None,
    }


def _split_agents(argument: str) -> list[str]:
    """Names separated by commas; one with a command stands alone, because a command may have commas."""
    return [argument] if "=" in argument else argument.split(",")


# --- token -----------------------------------------------------------------------------------------------------


def _add_token(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    token = commands.add_parser(
        "token",
        help="make, list, revoke and show tokens",
        description="Tokens say who comes in: people (role user), bridges, and admins, who may also make tokens. A "
        "server that runs on this data is asked to do it.",
    )
    actions = token.add_subparsers(metavar="ACTION", required=True)
    _add_token_changes(actions)
    show = actions.add_parser("show", help="print the token alone, for use in scripts")
    show.add_argument("role", nargs="?", choices=("admin", "bridge"), default="admin", help="[default: admin]")
    add_option(show, next(setting for setting in settings_table() if setting.name == "data"))
    show.set_defaults(command=_show_token)


def _add_token_changes(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    create = actions.add_parser("create", help="make a token, and print it alone: it is told this once")
    create.add_argument("--role", required=True, choices=("user", "bridge", "admin"), help="what it may do")
    create.add_argument("--name", required=True, help="who brings it: a person, or one bridge")
    create.add_argument("--expires", metavar="DAYS", help="how long it counts, 1 to 3650 days [default: for ever]")
    create.add_argument(
        "--same-user",
        action="store_true",
        help="another token of the user who has one of this name: for another device, or another member of a team",
    )
    create.set_defaults(command=_create_token)
    listing = actions.add_parser("list", help="list the tokens that there are and were, without their texts")
    listing.set_defaults(command=_list_tokens)
    revoke = actions.add_parser("revoke", help="end a token for ever, and all connections that came in with it")
    revoke.add_argument("token", metavar="ID-or-NAME", help="as `baton token list` shows it")
    revoke.set_defaults(command=_revoke_token)
    by_name = {setting.name: setting for setting in settings_table()}
    for action in (create, listing, revoke):
        action.add_argument("--url", help="the server that has the database, where it is another machine's")
        for name in ("data", "store", "port"):
            add_option(action, by_name[name])


def _create_token(chosen: argparse.Namespace) -> int:
    from baton import token_admin

    settings = load_settings(chosen)

    async def work() -> None:
        command = token_admin.create_command(chosen.name, chosen.role, chosen.expires, same_user=chosen.same_user)
        async with token_admin.open_desk(settings, chosen.url, makes_database=True) as desk:
            made = await desk.create(command)
        _tell(made.text)
        until = f"until {made.token.expires_at:%Y-%m-%d %H:%M} UTC" if made.token.expires_at else "for ever"
        _note(f"Made {made.token.name!r} ({made.token.id}), role {made.token.role.value}, {until}.")
        _note("Keep the token now: only its hash is stored, so it cannot be shown again.")

    asyncio.run(work())
    return 0


def _list_tokens(chosen: argparse.Namespace) -> int:
    from baton import token_admin

    settings = load_settings(chosen)

    async def work() -> None:
        async with token_admin.open_desk(settings, chosen.url) as desk:
            _tell(token_admin.table(await desk.page()))

    asyncio.run(work())
    return 0


def _revoke_token(chosen: argparse.Namespace) -> int:
    from baton import token_admin

    settings = load_settings(chosen)

    async def work() -> None:
        async with token_admin.open_desk(settings, chosen.url) as desk:
            token = await desk.revoke((await token_admin.find(desk, chosen.token)).id)
        _note(f"Revoked {token.name!r} ({token.id})")

    asyncio.run(work())
    return 0


def _note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _show_token(chosen: argparse.Namespace) -> int:
    from baton.core.commands import AccountRole
    from baton.credentials import read_token

    settings = load_settings(chosen)
    role = AccountRole(chosen.role)
    given = settings.admin_token if role is AccountRole.ADMIN else settings.bridge_token
    token = given or read_token(settings.data, role)
    if token is None:
        raise ConfigError(f"There is no token in {settings.data} yet: the first `baton serve` makes it")
    _tell(token)
    return 0


# --- audit -----------------------------------------------------------------------------------------------------


def _add_audit(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    audit = commands.add_parser(
        "audit",
        help="show who did what, and which tool calls were allowed and denied by whom or which rule",
        description="What was decided and done, newest first: of decisions the columns of the head, of everything else "
        "when, what, who, from where, the conversation, and about what. A server that runs on this data is asked.",
    )
    audit.add_argument("--conversation", metavar="ID", help="only of this conversation")
    audit.add_argument("--user", metavar="NAME", help="only what this user did")
    audit.add_argument("--action", help="only entries of this kind, such as login.failed")
    audit.add_argument("--limit", type=int, default=100, help="how many at most [default: 100]")
    audit.add_argument("--json", action="store_true", dest="as_json", help="one JSON object a line")
    audit.add_argument("--url", help="the server that has the database, where it is another machine's")
    by_name = {setting.name: setting for setting in settings_table()}
    for name in ("data", "store", "port"):
        add_option(audit, by_name[name])
    audit.set_defaults(command=_audit)


def _audit(chosen: argparse.Namespace) -> int:
    settings = load_settings(chosen)
    from baton.auditing import tell_audit

    if chosen.limit < 1:
        raise ConfigError(f"--limit={chosen.limit}: accepted is a whole number, 1 or more")
    work = tell_audit(
        settings,
        _tell,
        conversation=chosen.conversation,
        user=chosen.user,
        action=chosen.action,
        limit=chosen.limit,
        as_json=chosen.as_json,
        url=chosen.url,
    )
    asyncio.run(work)
    return 0


# --- import-claude ---------------------------------------------------------------------------------------------


def _add_import_claude(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    importing = commands.add_parser(
        "import-claude",
        help="bring in sessions that you had with Claude Code in a terminal",
        description="Without a session: list those of the folder. With sessions, or --all: make conversations of "
        "them that go on where they were. A server that runs on this data is asked to do it.",
    )
    importing.add_argument("session", nargs="*", help="a session's id, as the list shows it")
    importing.add_argument("--folder", default=".", help="where you worked with Claude Code [default: this folder]")
    importing.add_argument("--all", action="store_true", dest="takes_all", help="every session of the folder")
    importing.add_argument("--url", help="the server that has the database, where it is another machine's")
    by_name = {setting.name: setting for setting in settings_table()}
    for name in ("data", "store", "port"):
        add_option(importing, by_name[name])
    importing.set_defaults(command=_import_claude)


def _import_claude(chosen: argparse.Namespace) -> int:
    settings = load_settings(chosen)
    from baton import importing

    work = importing.import_claude(
        settings,
        _tell,
        folder=Path(chosen.folder),
        session_ids=chosen.session,
        takes_all=chosen.takes_all,
        url=chosen.url,
    )
    asyncio.run(work)
    return 0
