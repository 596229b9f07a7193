"""State: three tiers, one log, one owner, and the promise that they make together.

This room keeps aggregates (conversations, runs) and configs, and knows nothing of what is in them.
It never tells other servers anything itself: it declares `ChangePublisher` for that.
Start reading at `aggregates.Aggregates.submit` (a write) and `reads.store.Store.get` (a read).
"""
