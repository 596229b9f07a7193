"""The kinds of config as clients edit them: one file per kind, every bound in its types."""
