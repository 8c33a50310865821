"""Recipes on the Hub: what goes up and comes down, cards, search."""
