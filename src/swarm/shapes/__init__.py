"""What a conversation is made of: values, commands, events, bounds, and how they are written."""
