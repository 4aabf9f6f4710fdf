"""From numbers to estimates: intervals, tests, resampling."""
