"""The client at the clinic: exams coded at a certified point, queued on disk and sent over a slow link."""
