"""The profile: a certified point with its evidence, signed, as clients and the service obey it."""
