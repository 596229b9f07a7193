"""swarmstate: the state backbone of multi-bot LiveKit voice rooms.

The rooms, from the edge inwards: `cli` and `demo`, `api`, `swarm`, `invalidation`, `state`; each
imports only rooms to its right. `embedded` stands apart and starts PostgreSQL and Redis for
development and tests.
"""
