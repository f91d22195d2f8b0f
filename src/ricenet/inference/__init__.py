"""New cases: preprocessed as in training, voted on by the folds, compared with the training subjects."""
