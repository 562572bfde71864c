"""`baton db ...`: the options of the commands that look after the database. Each imports what it needs when it runs."""

import argparse
import asyncio
import sys

from baton.cli_settings import add_option, load_settings
from baton.settings import settings_table


def add_db(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """The group with its commands."""
    database = commands.add_parser("db", help="look after the database")
    actions = database.add_subparsers(metavar="ACTION", required=True)
    added = (_add_check(actions), _add_migrate(actions))
    by_name = {setting.name: setting for setting in settings_table()}
    for action in added:
        for name in ("store", "data"):
            add_option(action, by_name[name])


def _tell(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _add_check(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    check = actions.add_parser(
        "check",
        help="connect, say what is there and how fast it answers, and whether it fits together",
        description="Exit codes: 0 healthy, 1 something was found or stood in the way, 2 wrong use.",
    )
    check.add_argument("--repair", action="store_true", help="mend what is safe to mend, while no server runs")
    check.add_argument("--json", action="store_true", dest="as_json", help="one JSON object")
    check.set_defaults(command=_check)
    return check


def _check(chosen: argparse.Namespace) -> int:
    settings = load_settings(chosen)
    from baton.db_check import run_check

    return run_check(settings, _tell, repair=chosen.repair, as_json=chosen.as_json)


def _add_migrate(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    migrate = actions.add_parser("migrate", help="bring the database up to date")
    migrate.add_argument("--dry-run", action="store_true", help="only name what would be done")
    migrate.set_defaults(command=_migrate)
    return migrate


def _migrate(chosen: argparse.Namespace) -> int:
    settings = load_settings(chosen)
    from baton import database

    asyncio.run(database.migrate(settings, _tell, dry_run=chosen.dry_run))
    return 0
