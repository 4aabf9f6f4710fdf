"""The page: one HTML file from findings and figures."""
