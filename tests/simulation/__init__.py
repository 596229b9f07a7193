"""Seeded simulation: whole servers on model tiers, in virtual time, with everything going wrong.

One seed is one run: it draws the clients, what they ask, what fails and when, and where servers
crash. It never uses a real store, a socket or a clock. Start reading at `run.simulate`.
"""
