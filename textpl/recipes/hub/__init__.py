"""Recipes on the Hub: what goes up and comes down, cards, search."""

from textpl.recipes.hub.push_pull import pull, push

__all__ = ["pull", "push"]
