"""What connects freshet: topics, the Faust app and its agents, the index adapters, the client.

Never imports torch.
"""
