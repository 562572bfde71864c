"""The accessibility checker, for tests of what the page shows."""

import json
from pathlib import Path

from playwright.async_api import Page

AXE = Path(__file__).parents[2] / "ui" / "node_modules" / "axe-core" / "axe.min.js"


async def serious(page: Page) -> list[str]:
    """What the accessibility checker finds serious or worse."""
    # The policy forbids scripts from elsewhere; the driver's own world is not bound by it.
    await page.evaluate(AXE.read_text(encoding="utf-8"))
    found = await page.evaluate("() => axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{violation['id']}: {json.dumps([node['html'][:200] for node in violation['nodes'][:3]])}"
        for violation in found["violations"]
        if violation["impact"] in ("serious", "critical")
    ]
