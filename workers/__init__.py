"""What runs: the local Kafka, the embedding worker, the replayer, the benchmarks, the command line."""
