"""Sharing on the Hub: recipes, models, and labels that were cleaned or found, with cards."""
