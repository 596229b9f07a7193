"""What is done without a store that is away, and how one finds out that it is back."""
