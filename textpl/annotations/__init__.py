"""Opinions of anything but a trusted person about labels: how they are read, how reliable each is, what they say."""
