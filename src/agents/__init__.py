"""The agents room brings conversations into LiveKit rooms: ears for people, voices for bots.

It never decides who speaks nor stores anything: it tells the swarm's dialogue what was heard and
says what it is given, through one narrow port. Start reading in `hosting.py`, where one job becomes
one room; `ears.py` and `voices.py` are its two halves, `worker.py` takes the jobs.
"""
