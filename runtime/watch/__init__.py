"""What sees that a run has come to a standstill, and says who waits for whom."""
