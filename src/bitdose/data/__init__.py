"""Cases: what a study reads."""
