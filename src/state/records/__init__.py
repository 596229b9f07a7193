"""Small tables, one file per noun, each with the SQL that reads and writes it."""
