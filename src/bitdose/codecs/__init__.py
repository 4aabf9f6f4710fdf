"""Array to bytes to array: codecs, points, and coding around any codec."""
