"""What a command does to a conversation: pure decisions and folds, one file per kind of command."""
