"""The HTTP and WebSocket edge: any server answers any request.

This room owns who may ask for what, and how an answer or an error looks on the wire; it decides
nothing about conversations and keeps no state but caches of verified tokens and plain counters.
Start reading at `app.create_app`; the hottest request never gets further than `hot_reads.py`.
"""
