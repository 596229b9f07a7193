"""The ways an announcement can travel."""
