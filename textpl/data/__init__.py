"""Bundled corpora, written for this project; see each folder's info.json."""
