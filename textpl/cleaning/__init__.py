"""Given labels, out-of-sample probabilities and embeddings in, problems out; arrays only."""
