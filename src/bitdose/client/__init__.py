"""The clinic's side: exams coded at a certified point, queued on disk and sent over a bad line."""
