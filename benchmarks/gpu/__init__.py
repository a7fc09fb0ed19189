"""Everything that wants a GPU once, by one command: see __main__.py."""
