"""Claims put to the test: recipes that differ in one thing, trained and measured alike."""
