"""Settings as options of a command, and the settings that they and the environment give."""

import argparse

from baton.setting_kinds import Setting
from baton.settings import Settings, load, settings_table


def add_option(parser: argparse.ArgumentParser, setting: Setting, *, repeats: bool = False) -> None:
    """The setting's option, whose help tells what is accepted, its variable and its default."""
    names = " or ".join(setting.variables)
    text = f"{setting.help} Accepted: {setting.kind.accepts}. [environment: {names}; default: {setting.default}]"
    parser.add_argument(
        setting.option,
        dest=setting.name,
        metavar="VALUE",
        help=text.replace("%", "%%"),
        action="append" if repeats else "store",
    )


def load_settings(chosen: argparse.Namespace) -> Settings:
    """The settings of a command. Raises ConfigError."""
    names = {setting.name for setting in settings_table()}
    return load({name: value for name, value in vars(chosen).items() if name in names and value is not None})
