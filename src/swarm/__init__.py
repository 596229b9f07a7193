"""The swarm room owns what a conversation is: its state, its commands, its rules, its speakers.

It never opens a connection and never reads a clock in a decision: `decide` and `fold` are pure, and
storage is reached only through the rooms below. Start reading in `transitions.py`, where a command
becomes events and events become the next state; `models.py` has the shapes.
"""
