"""The rules: what may happen to conversations, runs and prompts, in which order, and who is told.

Services know the store, the bridges and the browsers only as ports.
"""
