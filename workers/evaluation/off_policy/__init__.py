"""``freshet evaluate --off-policy``: a policy's value from the log of another."""
