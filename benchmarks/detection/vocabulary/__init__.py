"""What several models of the benchmark share: batches, blocks, initialisation, losses."""
