"""From a results table and margins to a certified point and its profile."""
