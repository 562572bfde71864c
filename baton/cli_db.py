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
    looking = (_add_check, _add_migrate, _add_sync, _add_seed)
    keeping = (_add_export, _add_import, _add_backup, _add_restore)
    added = [add(actions) for add in (*looking, *keeping)]
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
    migrate.add_argument("--status", action="store_true", help="name every step, and whether the database has had it")
    migrate.set_defaults(command=_migrate)
    return migrate


def _migrate(chosen: argparse.Namespace) -> int:
    settings = load_settings(chosen)
    from baton import database

    if chosen.status:
        asyncio.run(database.tell_status(settings, _tell))
    else:
        asyncio.run(database.migrate(settings, _tell, dry_run=chosen.dry_run))
    return 0


def _add_sync(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    sync = actions.add_parser("sync", help="bring migrations, indexes and counts in line, and say what was done")
    sync.set_defaults(command=_sync)
    return sync


def _sync(chosen: argparse.Namespace) -> int:
    settings = load_settings(chosen)
    from baton.db_sync import sync

    asyncio.run(sync(settings, _tell))
    return 0


def _add_seed(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    seed = actions.add_parser("seed", help="add some conversations to look at, marked as demos")
    seed.add_argument("--messages", type=int, metavar="N", help="instead: one conversation with N messages")
    seed.set_defaults(command=_seed)
    return seed


def _seed(chosen: argparse.Namespace) -> int:
    settings = load_settings(chosen)
    from baton.db_seed import seed

    asyncio.run(seed(settings, _tell, messages=chosen.messages))
    return 0


def _note(text: str) -> None:
    sys.stderr.write(text + "\n")


def _add_export(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    export = actions.add_parser("export", help="write everything, or one conversation, as lines of JSON")
    export.add_argument("file", help="where to; - is the standard output")
    export.add_argument("--conversation", metavar="ID", help="only this one, with what it uses")
    export.add_argument("--resume", action="store_true", help="go on behind the last whole record of the file")
    export.set_defaults(command=_export)
    return export


def _export(chosen: argparse.Namespace) -> int:
    settings = load_settings(chosen)
    from baton.db_transfer import export_to

    work = export_to(settings, _note, target=chosen.file, conversation_id=chosen.conversation, resumes=chosen.resume)
    return 0 if asyncio.run(work) else 1


def _add_import(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    importing = actions.add_parser("import", help="add the records of an export that are not there yet")
    importing.add_argument("file", help="what `baton db export` wrote, from any store")
    importing.set_defaults(command=_import)
    return importing


def _import(chosen: argparse.Namespace) -> int:
    settings = load_settings(chosen)
    from baton.db_transfer import import_from

    return 0 if asyncio.run(import_from(settings, _tell, source=chosen.file)) else 1


def _add_backup(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    backup = actions.add_parser("backup", help="make a copy that was read back, also while a server runs")
    backup.add_argument("folder", nargs="?", help="where to [default: backups in the data folder]")
    backup.add_argument("--every", metavar="TIME", help="go on, one after the other: 30m, 24h, 7d")
    backup.add_argument("--keep", type=int, metavar="N", help="remove the oldest, so that N are left")
    backup.set_defaults(command=_backup)
    return backup


def _backup(chosen: argparse.Namespace) -> int:
    settings = load_settings(chosen)
    from pathlib import Path

    from baton import db_backup
    from baton.clock import SystemClock
    from baton.core.errors import ConfigError

    if chosen.keep is not None and chosen.keep < 1:
        raise ConfigError(f"--keep={chosen.keep}: accepted is a whole number, 1 or more")
    work = db_backup.backups(
        settings,
        _tell,
        SystemClock(),
        folder=Path(chosen.folder) if chosen.folder else None,
        every=db_backup.parse_every(chosen.every) if chosen.every else None,
        keep=chosen.keep,
    )
    asyncio.run(work)
    return 0


def _add_restore(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    restore = actions.add_parser("restore", help="bring back a backup or an export, or one conversation of it")
    restore.add_argument("file", help="what `baton db backup` or `baton db export` wrote, from any store")
    restore.add_argument("--conversation", metavar="ID", help="only this one; beside the one that is there, if it is")
    restore.add_argument("--yes", action="store_true", help="replace what is there without asking")
    restore.set_defaults(command=_restore)
    return restore


def _restore(chosen: argparse.Namespace) -> int:
    settings = load_settings(chosen)
    from baton.core.errors import ConfigError
    from baton.db_restore import restore

    def confirm(question: str) -> bool:
        if chosen.yes:
            return True
        if not sys.stdin.isatty():
            raise ConfigError(f"{question} Say so with --yes: there is nobody here to ask")
        _note(question + " Type yes to do it:")
        return sys.stdin.readline().strip().lower() == "yes"

    work = restore(settings, _tell, confirm, source=chosen.file, conversation_id=chosen.conversation)
    return 0 if asyncio.run(work) else 1
