"""The HTTP interface: application, access, routes."""
