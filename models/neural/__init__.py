"""The parts of the models that need torch: text encoders, towers and their training."""
