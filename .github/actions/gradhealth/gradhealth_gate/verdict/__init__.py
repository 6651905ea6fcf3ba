"""What the reports mean for the change."""
