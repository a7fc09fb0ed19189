"""The `dailymae` command."""
