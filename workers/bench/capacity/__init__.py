"""``freshet capacity``: memory, disk and processors for a given load."""
