"""What people get to see: summary, annotations, outputs, comment."""
