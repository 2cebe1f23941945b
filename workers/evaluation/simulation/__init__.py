"""``freshet simulate``: policies compared on simulated readers."""
