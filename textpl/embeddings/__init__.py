"""From texts to vectors, and from vectors to their nearest neighbours."""
