"""The way of a read: L1, then L2, then L3, and what keeps a copy from being taken for news."""
