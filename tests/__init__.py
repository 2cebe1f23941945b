"""The tests: unit, contract, and integration on a real broker."""
