"""A whole swarmstate on one machine: servers as processes of their own, and a demonstration that
counts from outside whether each promise is kept.

It owns those processes and tells them only what any client or operator could; it never looks into
a server, and no server imports it. Start reading at `cluster.open_cluster`, then `script.py`.
"""
