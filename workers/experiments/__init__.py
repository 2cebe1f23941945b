"""``freshet experiment``: the plan, the report and the tables of an A/B test."""
