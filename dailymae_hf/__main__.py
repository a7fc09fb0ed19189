"""`python -m dailymae_hf`: the `dailymae` command, for launchers that take a module."""

from dailymae_hf.cli.main import command

command()
