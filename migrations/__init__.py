"""Steps that bring a database to the shape that this version of Baton needs.

One file per step, `NNNN_slug.py`, with one function per store: `sqlite(connection)` and `async mongo(database)`.
Steps only add, so that the version before still runs beside them; `baton.storage.migrate` finds and runs them.
"""
