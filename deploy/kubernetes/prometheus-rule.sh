#!/bin/sh
# Writes components/monitoring/prometheus-rule.yaml from deploy/prometheus/alerts.yml, whose alerts they are.
set -eu
cd "$(dirname "$0")"
{
    cat <<'HEAD'
# Written by deploy/kubernetes/prometheus-rule.sh from deploy/prometheus/alerts.yml: change that, then run it.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: freshet
spec:
HEAD
    sed 's/^\(.\)/  \1/' ../prometheus/alerts.yml
} > components/monitoring/prometheus-rule.yaml
