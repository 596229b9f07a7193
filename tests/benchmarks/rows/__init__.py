"""The rows of the table: importing a module of this folder registers its rows."""
