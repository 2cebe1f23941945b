"""The documents: pages of reference that are generated, and what is found in pages that are written."""
