"""Recipes: a small YAML file says data, model, method and budget; it runs from the command line."""
