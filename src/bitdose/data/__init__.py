"""Cases: readers of files, folders and tables."""
