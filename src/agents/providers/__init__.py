"""What people are heard with and bots speak with, by name, and offline ones that need no key."""
