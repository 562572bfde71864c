"""`baton doctor --brief`: the four lines that people look for first, from /health and the bridge's page alone."""

from collections.abc import Mapping
from typing import Any

from baton.bridge_settings import BridgeSettings
from baton.core.errors import Unavailable
from baton.doctor.patient import Patient, open_patient
from baton.settings import Settings


async def brief(settings: Settings, bridge: BridgeSettings, url: str | None) -> tuple[bool, str]:
    """Whether all is well, and the lines; at most some seconds."""
    async with open_patient(settings, bridge, url) as patient:
        health = await _health(patient)
        services: Mapping[str, Any] = health.get("services") or {}
        store = settings.store_label if patient.is_here else "the server's"
        rows = [
            ("Frontend", services.get("frontend") == "ok", patient.url),
            ("Backend", health.get("status") in ("ok", "degraded"), patient.url),
            ("MongoDB" if "MongoDB" in store else "Store", services.get("store") == "ok", store),
            ("Bridge", services.get("bridge") == "ok", await _bridge_text(patient, health)),
        ]
    lines = [f"{'✅' if is_well else '❌'} {name + ':':<9} {text}" for name, is_well, text in rows]
    return all(is_well for _, is_well, _ in rows), "\n".join(lines)


async def _health(patient: Patient) -> Mapping[str, Any]:
    try:
        return (await patient.ask("/health")).said
    except Unavailable:
        return {}


async def _bridge_text(patient: Patient, health: Mapping[str, Any]) -> str:
    count = (health.get("connections") or {}).get("bridges", 0)
    text = f"{count} connected"
    if patient.page_url is None:
        return text
    try:
        said = (await patient.ask("/health", url=patient.page_url)).said
    except Unavailable:
        return text
    link = said.get("link") or {}
    return f"{text}; {patient.page_url}/health: {link.get('state', 'no page of a bridge')}"
