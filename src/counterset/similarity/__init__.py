"""Train-test similarity: how near a benchmark is to a training set, pruning, and de-duplication."""
