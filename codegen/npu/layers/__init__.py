"""One module per kind of command: which layers it does, by rules, and how."""
