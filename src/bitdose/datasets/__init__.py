"""Public image sets: download by manifest, the paper's arrangement, checks against its counts."""
