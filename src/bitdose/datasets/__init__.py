"""Public image sets: fetched by manifest, arranged as the paper did, checked against its numbers."""
