"""Baton: drive coding agents from a browser, alone or as a team, and lose nothing.

Importing this package has no effect; `baton.app` builds a server, `baton.cli` is the command.
"""

__version__ = "0.1.0"
