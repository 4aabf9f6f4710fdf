"""De-identification: rules for attributes, pseudonyms, and signs of burnt-in text."""
