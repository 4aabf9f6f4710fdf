"""A certified or chosen point applied to image files and DICOM objects."""
