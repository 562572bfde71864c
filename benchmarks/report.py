"""Writes the tables of docs/performance.md anew from what `make bench` kept: `make bench-docs`.

A table stands between `<!-- bench: NAME -->` and `<!-- /bench -->`; NAME is a table's key, `goals`, or `run` (when and
on what it was measured); with `mongodb/` before it, of what was measured with `--store`. What was not measured yet is
said so.
"""

import re
from pathlib import Path

from benchmarks.results import RESULTS, goals_markdown, load, markdown

PAGE = Path(__file__).parent.parent / "docs" / "performance.md"
_PLACE = re.compile(r"(<!-- bench: ([a-z0-9/-]+) -->\n).*?(<!-- /bench -->)", flags=re.S)


def page_with(page: str, results: Path) -> str:
    """The page with its tables as the results in this folder have them."""
    return _PLACE.sub(lambda place: f"{place[1]}{_content(place[2], results)}\n{place[3]}", page)


def _content(place: str, results: Path) -> str:
    folder, _, name = place.rpartition("/")
    kept = load(results / folder)
    if name == "goals":
        return goals_markdown(kept)
    if name == "run":
        runs = dict.fromkeys((part["machine"], part["form"], part["at"][:10]) for part in kept.values())
        return "\n".join(f"{machine}; {form}; {day}." for machine, form, day in runs) or "Not measured yet."
    for part in kept.values():
        for table in part["tables"]:
            if table["key"] == name:
                return f"{table['title']}:\n\n{markdown(table)}"
    return "Not measured yet."


def main() -> None:
    """Write the page."""
    page = PAGE.read_text(encoding="utf-8")
    written = page_with(page, RESULTS)
    PAGE.write_text(written, encoding="utf-8")
    print(f"{PAGE.name} is {'up to date' if page == written else 'written anew'}")


if __name__ == "__main__":
    main()
