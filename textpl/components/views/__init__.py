"""Views: what the student sees of an unlabelled text (word noise, TF-IDF word replacement)."""

from textpl.components.views.tfidf import TfidfReplacement
from textpl.components.views.word_noise import WordNoise
from textpl.components.views.words import NEGATORS, View, row_rng

__all__ = ["NEGATORS", "TfidfReplacement", "View", "WordNoise", "row_rng"]
