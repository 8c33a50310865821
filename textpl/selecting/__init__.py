"""Which texts to label first, and next: strategies on arrays, the public function, its files."""
