"""What suites that run the real daemon have in common."""
