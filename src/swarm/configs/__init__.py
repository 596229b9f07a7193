"""What clients edit: each kind of config with its bounds, and what is inherited from it."""
