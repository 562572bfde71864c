"""Kinds of agents: each turns one `Execute` into stream events and an outcome (`core.ports.Agent`).

They know neither wire nor store; a bridge runs them. Others can be added by the entry point group `baton.agents`.
"""
