"""Dashboards for Grafana, made by code."""
