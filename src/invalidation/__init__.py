"""Invalidation: telling other servers that their copy is old, and never missing what they tell.

This room numbers announcements, replays gaps, and pulls twice a second so that a lost last message
is found too. It never carries a value and never decides what a state is.
Start reading at `listener.Listener.apply` (hearing) and `publisher.Announcer.publish` (telling).
"""
