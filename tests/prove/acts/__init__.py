"""The acts of the proof by topic; each module has `ACTS`."""
