"""De-identification: which attributes stay, which go, and burnt-in text."""
