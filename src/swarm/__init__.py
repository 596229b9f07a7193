"""The swarm room owns what a conversation is: its state, its commands, its rules, its speakers.

It never stores anything itself: that is the state room's affair, and no rule here reads a clock or
opens a connection. Start reading in `rules/transitions.py`, where a command becomes events and
events the next state; `shapes/models.py` has the shapes, `service.py` is the way in.
"""
