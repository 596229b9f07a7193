"""Rooms on LiveKit: the voice of a conversation, and the swarm that is sent there."""
