"""Who may write: beats, what this server holds, and what it takes from the dead."""
