"""``freshet drift``: two bundles or two periods compared."""
