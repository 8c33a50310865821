"""Tables and labels from files, Hub data and Python objects: the one place that knows how people write them."""
