"""The Faust app and its agents: users, statistics, learner, recommender and eraser.

Imports state and all below it. Begin with :mod:`~freshet.streams.agents.app`.
"""
