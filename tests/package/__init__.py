"""The package as somebody installs it, and the stream image's steps without an engine."""
