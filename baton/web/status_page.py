"""`/` where the page was not built (no Node.js): how the server is, who is connected, how to go on.

Nothing from outside is loaded and nothing inline runs: the policy below forbids it.
"""

from importlib.resources import files
from pathlib import Path
from typing import Final

from aiohttp import web

from baton.web.access import Access
from baton.web.page import files_handler, page_handler, read_folder

CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


def add_status_page(app: web.Application, access: Access, *, at_root: bool) -> None:
    """Add `/static/...` to `app`, and `/` where no other page is there. Public: it asks with the visitor's cookie."""
    served = read_folder(Path(str(files("baton.web").joinpath("static"))))
    if at_root:
        app.router.add_get("/", page_handler(served["index.html"], access, CONTENT_SECURITY_POLICY))
    app.router.add_get("/static/{name}", files_handler(served, CONTENT_SECURITY_POLICY))
