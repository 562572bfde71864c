"""The tables of docs/settings.md, made from the code. `python -m tests.support.settings_reference` writes them."""

from collections.abc import Sequence
from pathlib import Path

from baton.setting_kinds import Setting
from baton.settings import bridge_table, limits_table, settings_table

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"
BEGIN = "<!-- made from baton/settings.py by `make docs`; do not edit below -->"


def render() -> str:
    """Everything below the line `BEGIN`."""
    return "\n".join(
        [
            BEGIN,
            "",
            "## Settings",
            "",
            *_table(settings_table()),
            "",
            "## Settings of `baton bridge`",
            "",
            *_table(bridge_table()),
            "",
            "## Limits",
            "",
            "Sizes in bytes, times in seconds.",
            "",
            *_table(limits_table()),
            "",
        ]
    )


def _table(settings: Sequence[Setting]) -> list[str]:
    head = ["| variable | option | default | accepted | what |", "|---|---|---|---|---|"]
    return head + [_row(setting) for setting in settings]


def _row(setting: Setting) -> str:
    names = " or ".join(f"`{name}`" for name in setting.variables)
    option = f"`{setting.option}`" if setting.has_option else ""
    return f"| {names} | {option} | {setting.default} | {setting.kind.accepts} | {setting.help} |"


def page_with(tables: str) -> str:
    """The page with these tables instead of its own."""
    return PAGE.read_text(encoding="utf-8").split(BEGIN)[0] + tables


if __name__ == "__main__":
    PAGE.write_text(page_with(render()), encoding="utf-8")
    print(f"{PAGE.name} is up to date")
