"""How good a classifier is, judged on rows whose labels are partly wrong."""
