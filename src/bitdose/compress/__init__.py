"""Application of an operating point to image files and DICOM objects."""
