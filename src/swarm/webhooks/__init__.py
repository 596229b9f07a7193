"""Telling others of changes by HTTP: messages, where they may go, and the relay that sends them."""
