"""Statistics: intervals, tests and resampling."""
