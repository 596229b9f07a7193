"""The way of a write: decided in a lane, logged in a group, and written behind once for many."""
