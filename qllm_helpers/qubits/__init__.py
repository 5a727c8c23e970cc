"""Gate-based circuits as real state vectors."""
