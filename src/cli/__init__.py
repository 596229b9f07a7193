"""The command line: `swarmstate dev | serve | migrate | token | user | doctor | demo`.

It reads settings and options, opens what the rooms below offer, and says in one line what is
wrong when that fails; it decides nothing about conversations. Start reading at `commands.py`.
"""

from src.cli.commands import main

__all__ = ["main"]
