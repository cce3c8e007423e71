"""What the text of a statement says, before any catalog is asked."""
