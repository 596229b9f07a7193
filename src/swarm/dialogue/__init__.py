"""Who speaks: the owner's running conversations, their floor, and the replies of their bots."""
