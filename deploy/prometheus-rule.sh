#!/usr/bin/env bash
# Makes deploy/k8s/monitoring/prometheusrule.yaml from deploy/prometheus/rules: for after a rule changed.
# A test compares the two.
set -euo pipefail
cd "$(dirname "$0")"
{
    cat <<'HEAD'
# Made by deploy/prometheus-rule.sh from deploy/prometheus/rules: change those.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: fanlight
  labels:
    app.kubernetes.io/name: fanlight
spec:
  groups:
HEAD
    for rules in recording alerts; do
        # What stands below `groups:`, one level deeper.
        sed -n '/^groups:$/,$ { /^groups:$/d; s/^./  &/; p }' "prometheus/rules/$rules.yml"
    done
} >k8s/monitoring/prometheusrule.yaml
