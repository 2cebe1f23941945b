"""``freshet bench ann``: approximate indexes by recall and time."""
