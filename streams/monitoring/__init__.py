"""Gauges and health: the watchdog, drift, bursts, the rolling AUC and the HTTP endpoint.

Imports kafka. Begin with :mod:`~freshet.streams.monitoring.watchdog`.
"""
