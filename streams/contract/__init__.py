"""The contract of the topics as an AsyncAPI document, and the comparison of two versions.

Imports kafka. Begin with :mod:`~freshet.streams.contract.document`.
"""
