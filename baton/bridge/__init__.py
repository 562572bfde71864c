"""Bridges from the server's side and from their own: the wire, the hub, the in-process bridge."""
