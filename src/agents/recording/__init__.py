"""A room's recording: the sound of everybody in it, on one clock, as a file of its conversation."""
