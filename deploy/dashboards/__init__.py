"""freshet's Grafana dashboards as code: ``python -m deploy.dashboards`` writes them, and the page on them."""
