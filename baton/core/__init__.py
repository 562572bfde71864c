"""The domain: models, state machines, events, errors and ports.

Awaits nothing and imports no third party, so that every rule in it can be tested as a plain function.
"""
