"""The DICOM node: receiving from modalities, pushing to archives."""
