"""What every part runs on: files, tables, the store, execution here or on a cluster, randomness."""
