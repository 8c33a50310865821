"""Everything that touches `transformers.Trainer`."""
