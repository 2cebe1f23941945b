"""Verbs of the command line, one module each, with a click command named ``command``."""
