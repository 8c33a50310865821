"""The labels of a corpus that look wrong: finding, reporting, reviewing and correcting them, on datasets and files."""
