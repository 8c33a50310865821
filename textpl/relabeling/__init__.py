"""Embeddings and some labels in, labels with confidence out; arrays only, no model."""
