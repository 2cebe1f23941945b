"""Replay of a log as a stream, with the answers' ranking measured.

Begin with :mod:`~freshet.workers.replay.run`.
"""
