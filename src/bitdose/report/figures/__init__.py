"""A report's figures: the data first, then their drawing."""
